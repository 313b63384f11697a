#!/usr/bin/env python3
"""Compares awq's safetensors reader with the PyPI package `safetensors`: which files they take, and the bytes they read.

    differential_safetensors.py SAFETENSORS_DRIVER

Exit code 77, which ctest reports as skipped, when the package is not installed.
"""
import json
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import safetensors
except ImportError:
    print(f"skipped: this Python has no module `safetensors` (pip install safetensors): {sys.executable}")
    sys.exit(77)

FILES = 3000
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4,
         "F32": 4, "I64": 8, "U64": 8, "F64": 8}
OTHER = ["F4", "F6_E2M3", "C64", "f16", "X", ""]  # known to the reference alone, or to nobody
NUMBERS = ["0", "1", "-1", "-0", "1.0", "2e0", "01", "4294967296", "9223372036854775807", "9223372036854775808",
           "18446744073709551615", "18446744073709551616", "1e400", "null", '"1"', "[]"]
# Where we are stricter on purpose: the reference keeps the last of two equal keys, takes a list in place of an entry's
# object, and has dimensions up to 2^64.
STRICTER = ["twice", "is not an object", "2^63"]


def random_header(rng):
    entries, at = [], 0
    for i in range(rng.randrange(5)):
        dtype = rng.choice(list(SIZES))
        shape = [rng.randrange(4) for _ in range(rng.randrange(4))]
        size = SIZES[dtype]
        for dim in shape:
            size *= dim
        name = rng.choice(["w", "é", "a b", "\\u0041", "\\n", "model.layers."]) + str(i)
        entries.append(f'"{name}":{{"dtype":"{dtype}","shape":{json.dumps(shape)},"data_offsets":[{at},{at + size}]}}')
        at += size
    rng.shuffle(entries)
    if rng.random() < 0.3:
        entries.append(rng.choice(['"__metadata__":{"format":"pt"}', '"__metadata__":null', '"__metadata__":{"a":1}']))
    space = rng.choice(["", " ", "\n  ", "        "])
    return ("{" + ("," + space).join(entries) + "}" + space).encode(), at


def mutate_header(rng, header):
    text = bytearray(header)
    digits = [i for i, c in enumerate(text) if chr(c).isdigit()]
    kind = rng.randrange(8)
    if kind == 0 and text:
        text[rng.randrange(len(text))] = rng.randrange(256)
    elif kind == 1 and text:
        del text[rng.randrange(len(text))]
    elif kind == 2:
        text.insert(rng.randrange(len(text) + 1), rng.choice(b'0123456789,:{}[]" \\x\x00\xff'))
    elif kind == 3 and digits:
        at = rng.choice(digits)
        text[at:at + 1] = rng.choice(NUMBERS).encode()
    elif kind == 4:
        old = rng.choice(list(SIZES)).encode()
        text = text.replace(b'"' + old + b'"', b'"' + rng.choice(OTHER + list(SIZES)).encode() + b'"', 1)
    elif kind == 5:
        text = text.replace(b'"shape"', rng.choice([b'"extra":{"a":[1,2.5]},"shape"', b'"Shape"', b'"shape":[1],"shape"']), 1)
    elif kind == 6:  # the first entry twice
        text = text[:1] + text[1:text.find(b"}") + 1] + b"," + text[1:]
    elif kind == 7:
        text = text.replace(b'"shape":[', b'"shape":[' + rng.choice([b"0,9223372036854775808,", b"1,", b"0,"]), 1)
    return bytes(text)


def random_file(rng):
    header, data_bytes = random_header(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        header = mutate_header(rng, header)
    data_bytes += rng.choice([0] * 8 + [-1, 1])
    length = len(header) + rng.choice([0] * 12 + [-1, 1, 1 << 40])
    return struct.pack("<Q", max(length, 0)) + header + bytes(rng.randrange(256) for _ in range(max(data_bytes, 0)))


def reference(content):
    """The line the driver prints for the same file, or None for one that is refused."""
    try:
        tensors = safetensors.deserialize(content)
    except Exception:
        return None
    return sorted((name.encode().hex(), t["dtype"] if t["dtype"] in SIZES else "other", ",".join(map(str, t["shape"])), bytes(t["data"]).hex())
                  for name, t in tensors)


def disagreement(line, want):
    """What is wrong with the driver's line, or None."""
    verdict, _, rest = line.partition(" ")
    if verdict == "reject":
        return None if want is None or any(reason in rest for reason in STRICTER) else "refused what the reference takes"
    got = sorted(tuple(tensor.split("|")) for tensor in rest.split())
    if want is None:  # a type that nobody knows is an error for us only when somebody needs the tensor
        return None if any(t[1] == "other" for t in got) else "took what the reference refuses"
    return None if got == want else f"read {got}, the reference {want}"


def main():
    rng = random.Random(7)
    contents = [random_file(rng) for _ in range(FILES)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.safetensors" for i in range(FILES)]
        for path, content in zip(paths, contents):
            path.write_bytes(content)
        answer = subprocess.run([sys.argv[1]], input="\n".join(map(str, paths)) + "\n", capture_output=True, text=True, check=True)
    lines = answer.stdout.splitlines()
    assert len(lines) == FILES, f"{len(lines)} answers for {FILES} files"
    taken, wrong = 0, 0
    for content, line in zip(contents, lines):
        want = reference(content)
        taken += want is not None
        problem = disagreement(line, want)
        if problem:
            wrong += 1
            print(f"{problem}: {content!r}\n  {line}")
    print(f"{FILES} files, {taken} of them valid, {wrong} disagreements")
    sys.exit(1 if wrong or taken < FILES // 10 else 0)


main()
