"""Kill `awq quantize` with SIGKILL at random moments, resume, and compare with an undisturbed run byte for byte.

usage: kill_and_resume.py [--kills 20] [--seed 1] AWQ MODEL [-- extra arguments of awq quantize]
Each round kills one run at a random moment of its expected duration, resumes it (killing again with probability 1/2), and
compares every file of the output. The final name must never exist before the output is complete.
"""
import argparse
import filecmp
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time


def files_below(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def same(a, b):
    return files_below(a) == files_below(b) and all(
        filecmp.cmp(a / f, b / f, shallow=False) for f in files_below(a))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("awq")
    parser.add_argument("model")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("extra", nargs="*")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    root = pathlib.Path(tempfile.mkdtemp(prefix="awq_kill_"))
    try:
        def command(out, *more):
            return [args.awq, "quantize", args.model, str(out), "--progress", "none", *args.extra, *more]

        whole = root / "whole"
        begun = time.monotonic()
        subprocess.run(command(whole), check=True, stdout=subprocess.DEVNULL)
        duration = time.monotonic() - begun
        kills = 0
        while kills < args.kills:
            out = root / "out"
            resume = []
            while True:
                process = subprocess.Popen(command(out, *resume), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                kill = kills < args.kills and (not resume or rng.random() < 0.5)
                try:
                    _, errors = process.communicate(timeout=rng.random() * duration if kill else None)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    kills += 1
                    if out.exists() and not same(whole, out):
                        sys.exit(f"after kill {kills}: an incomplete checkpoint stands under its final name")
                    if out.exists():
                        break  # killed between the rename and the exit
                    resume = ["--resume"]
                    continue
                if process.returncode != 0:
                    sys.exit(f"after {kills} kills: exit {process.returncode}: {errors.decode()}")
                break
            if not same(whole, out):
                sys.exit(f"after {kills} kills: the resumed output differs")
            shutil.rmtree(out)
            shutil.rmtree(root / "out.awq-work", ignore_errors=True)
        leftovers = [p.name for p in root.iterdir() if p.name not in ("whole",) and "partial" not in p.name]
        if leftovers:
            sys.exit(f"left behind: {leftovers}")
        print(f"{kills} kills, every resumed output byte-identical to the undisturbed run ({duration:.1f} s)")
    finally:
        shutil.rmtree(root)


main()
