"""Lose the GPU in the middle of `awq quantize --device cuda`, resume, compare with an undisturbed run byte for byte.

usage: lose_device.py [--losses 3] [--generate] [--preload LIBRARY] AWQ MODEL [-- extra arguments of awq quantize]

What loses it understands LOSE_DEVICE_AT and LOSE_DEVICE_REPORT: on a real GPU LIBRARY, which makes the driver's answer
an error that sticks (tests/backend/cuda/gpu/lose_device.cc); without a GPU the plugin that AWQ_CUDA_PLUGIN names
(tests/quant/lost_device_plugin.cc). Each round loses it at another share of the calls that an undisturbed run makes.
Expected: exit code 5, a message that names --resume, finished blocks kept, nothing under the final name; then --resume
ends with the same bytes. With --generate `awq generate` is to end with 5 too.
Exit codes: 0 as expected, 1 not, 77 nothing was lost.
"""

import argparse
import filecmp
import os
import pathlib
import subprocess
import sys
import tempfile

DEVICE_ERROR = 5


def files_below(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def same(a, b):
    return files_below(a) == files_below(b) and all(filecmp.cmp(a / f, b / f, shallow=False) for f in files_below(a))


class Losing:
    """Runs awq with a device that is lost at the given call."""

    def __init__(self, awq, preload, folder):
        self.awq, self.preload, self.report = awq, preload, folder / "calls"

    def run(self, *words, lose_at=0):
        self.report.unlink(missing_ok=True)
        environment = dict(os.environ, LOSE_DEVICE_AT=str(lose_at), LOSE_DEVICE_REPORT=str(self.report))
        if self.preload:
            environment["LD_PRELOAD"] = os.path.abspath(self.preload)
        return subprocess.run(
            [self.awq, *map(str, words)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def calls(self):
        return int(self.report.read_text()) if self.report.exists() else 0


def check(condition, sentence):
    if not condition:
        sys.exit(sentence)


def lose_and_resume(losing, words, whole, out, lose_at):
    lost = losing.run(*words(out), lose_at=lose_at)
    work = pathlib.Path(f"{out}.awq-work")
    check(lost.returncode == DEVICE_ERROR, f"lost at call {lose_at}: exit {lost.returncode}, expected 5\n{lost.stderr}")
    check("--resume" in lost.stderr, f"the message does not say how to go on:\n{lost.stderr}")
    check(not out.exists(), "an incomplete checkpoint stands under its final name")
    check(work.is_dir(), f"{work} was not kept")
    blocks = len(list((work / "blocks").glob("*.json")))
    resumed = losing.run(*words(out, "--resume"))
    check(resumed.returncode == 0, f"--resume after call {lose_at}: exit {resumed.returncode}\n{resumed.stderr}")
    check(same(whole, out), f"lost at call {lose_at}: the resumed output differs")
    print(
        f"lost at call {lose_at}: exit 5, {blocks} finished blocks kept, resumed to the same bytes; the message:\n"
        + "".join(f"  | {line}\n" for line in lost.stderr.splitlines())
    )
    return blocks


def lose_while_generating(losing, model):
    words = ("generate", model, "--device", "cuda", "-p", "The ", "-n", 32, "--ignore-eos", "-q")
    check(losing.run(*words).returncode == 0, "generate fails undisturbed")
    lost = losing.run(*words, lose_at=max(1, losing.calls() - 10))
    check(lost.returncode == DEVICE_ERROR, f"generate: exit {lost.returncode}, expected 5\n{lost.stderr}")
    print(f"generate: exit 5; the message:\n  | {lost.stderr.strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", type=int, default=3)
    parser.add_argument("--preload")
    parser.add_argument("--generate", action="store_true")
    parser.add_argument("awq")
    parser.add_argument("model")
    parser.add_argument("extra", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="awq_lost_") as folder:
        root = pathlib.Path(folder)
        losing = Losing(args.awq, args.preload, root)

        def words(out, *more):
            return ("quantize", args.model, out, "--device", "cuda", "--progress", "none", *args.extra, *more)

        undisturbed = losing.run(*words(root / "whole"))
        check(undisturbed.returncode == 0, f"fails undisturbed: exit {undisturbed.returncode}\n{undisturbed.stderr}")
        calls = losing.calls()
        if calls < args.losses:
            print("nothing counts the calls of the device here: nothing was lost")
            sys.exit(77)
        kept = [
            lose_and_resume(losing, words, root / "whole", root / f"out{i}", max(1, calls * i // (args.losses + 1)))
            for i in range(1, args.losses + 1)
        ]
        check(kept[-1] > 0, "no loss came after a finished block: more of them are needed to show that they are kept")
        if args.generate:
            lose_while_generating(losing, args.model)
        print(f"{args.losses} losses in {calls} calls: as promised")


main()
