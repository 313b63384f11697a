#!/usr/bin/env python3
"""Checks the machine code of a library or program with CUDA kernels in it: nothing spills, tensor cores and wide loads are
where they are meant to be. Needs cuobjdump of the CUDA toolkit on PATH; exits with 77 (skipped) without."""
import re
import shutil
import subprocess
import sys

# Functions whose name matches, compiled for at least this capability, must contain an instruction that matches.
WIDE = r"LDG\.E\.(\S*\.)?128|LDGSTS\.E\.(\S*\.)?128|UBLKCP"  # 16 bytes a lane, or a bulk copy
NEEDS = (
    ("w4a16_sm90a", 90, r"UTMALDG", "copies by tensor maps"),
    ("w4a16_sm90a", 90, r"HG?MMA", "tensor cores"),
    (r"w4a16_sm90a\w*Lb0E", 90, r"HGMMA", "the tensor cores of Hopper"),  # PipelineShape: without kFold
    ("gemm_mma", 80, r"HMMA", "tensor cores"),
    ("gemv_w4a16", 75, r"HMMA", "tensor cores"),
    ("gemv_w4a16", 75, WIDE, "16-byte loads"),
    ("gemv_portable", 60, WIDE, "16-byte loads"),
)
SPILL = re.compile(r"\b(LDL|STL)\b")
GUARDED_OUT = 16  # instructions: a body that #if leaves empty on this chip has only its prologue and padding


def functions(listing):
    """(capability, name, lines) of every function in the output of cuobjdump -sass."""
    capability, name, lines = 0, None, []
    for line in listing:
        if match := re.match(r"\s*arch = sm_(\d+)", line):
            if name:
                yield capability, name, lines
            capability, name = int(match[1]), None
        elif match := re.match(r"\s*Function : (\S+)", line):
            if name:
                yield capability, name, lines
            name, lines = match[1], []
        elif name and re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+\S", line):
            lines.append(line)
    if name:
        yield capability, name, lines


def complaints(capability, name, lines):
    text = "".join(lines)
    if SPILL.search(text):
        yield f"sm_{capability} {name}: spills to local memory"
    if len(lines) <= GUARDED_OUT:
        return
    for pattern, first, instruction, words in NEEDS:
        if re.search(pattern, name) and capability >= first and not re.search(instruction, text):
            yield f"sm_{capability} {name}: has no {words} ({instruction})"


def main():
    if shutil.which("cuobjdump") is None:
        print("skipped: no cuobjdump on PATH")
        return 77
    with subprocess.Popen(["cuobjdump", "-sass", sys.argv[1]], stdout=subprocess.PIPE, text=True) as dump:
        seen, found = 0, []
        for function in functions(dump.stdout):
            seen += 1
            found += complaints(*function)
    if dump.returncode != 0 or seen == 0:
        found.append(f"cuobjdump found no machine code in {sys.argv[1]}")
    print("\n".join(found) if found else f"{seen} kernels: no spills, instructions as expected")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
