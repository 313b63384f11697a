#!/usr/bin/env python3
"""What `awq generate --device cuda` asks of CUDA for a token: a launch of a graph, and nothing else but, for a token that
is drawn, a wait.

usage: token_loop_calls.py [--tokens 200] LIBRARY AWQ MODEL [-- more arguments of awq generate]
       token_loop_calls.py --report FILE

LIBRARY is libcount_cuda_calls.so (cmake -DAWQ_CUDA_TRACE=ON); CUPTI is looked for where toolkits and Python packages
have it. With --report a count that was written before is judged.
Exit codes: 0 as said above, 1 not, 77 nothing was counted.
"""

import argparse
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

CUPTI_PLACES = (
    "/usr/local/cuda*/extras/CUPTI/lib64",
    "/usr/local/cuda*/lib64",
    "/usr/local/cuda*/lib",
    "/usr/local/cuda*/targets/*/lib",
    "/usr/local/lib/python3*/*-packages/nvidia/*/lib",
    "/usr/lib/python3*/*-packages/nvidia/*/lib",
    "/opt/*/lib/python3*/site-packages/nvidia/*/lib",
    "/usr/lib/x86_64-linux-gnu",
)

# Once a token each, seen by one interface or by both: the runtime's call makes the driver's.
LAUNCH = ("cudaGraphLaunch", "cuGraphLaunch")
# Once a token or never: the most likely token is seen in host memory, a drawn one waited for.
WAIT = ("cudaStreamSynchronize", "cuStreamSynchronize")
# What allocates, frees, copies, waits or launches: none of it but the above.
FORBIDDEN = re.compile(
    r"alloc|free|memcpy|memset|synchronize|query|launch|wait|instantiate|capture|register|create|destroy", re.IGNORECASE
)


def plain_name(name):
    """cudaGraphLaunch_v10000 and cuGraphLaunch_ptsz are both one function to a reader."""
    return re.sub(r"(_v\d+|_ptsz|_ptds)+$", "", name)


def in_loop(report):
    """Calls in the token loop by name, over both interfaces."""
    calls = {}
    for interface in ("runtime", "driver"):
        for name, count in report[interface].items():
            if count["in_loop"]:
                calls[plain_name(name)] = calls.get(plain_name(name), 0) + count["in_loop"]
    return calls


def faults(calls, steps):
    """What is not as promised, a line each."""
    found = []
    allowed = LAUNCH + WAIT
    found += [
        f"{name}: {calls[name]} calls in {steps} steps, expected one each"
        for name in allowed
        if calls.get(name, steps) != steps
    ]
    if not any(name in calls for name in LAUNCH):
        found.append("a launch of a graph was not seen in any step")
    found += [
        f"{name}: {count} calls in {steps} steps, expected none"
        for name, count in sorted(calls.items())
        if name not in allowed and FORBIDDEN.search(name)
    ]
    return found


def cupti_folders():
    """Folders that hold a libcupti, best first."""
    return [
        folder
        for place in CUPTI_PLACES
        for folder in sorted(glob.glob(place), reverse=True)
        if glob.glob(os.path.join(folder, "libcupti.so*"))
    ]


def counted(tokens, library, awq, model, *more):
    """Runs awq with the library inside; None where it counted nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "calls.json"
        paths = [os.environ.get("LD_LIBRARY_PATH", ""), *cupti_folders()]
        environment = dict(
            os.environ,
            CUDA_INJECTION64_PATH=os.path.abspath(library),
            COUNT_CUDA_CALLS=str(file),
            LD_LIBRARY_PATH=":".join(path for path in paths if path),
        )
        subprocess.run(
            [awq, "generate", model, "--device", "cuda", "-p", "The ", "-n", str(tokens), "--ignore-eos", *more],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        return json.loads(file.read_text()) if file.exists() else None


def judge(report):
    steps, calls = report["steps"], in_loop(report)
    if steps == 0:
        print("no graph was launched twice: there was no token loop to count in")
        return 77
    print(f"{steps} steps of the token loop; calls of CUDA in each:")
    for name, count in sorted(calls.items()):
        print(f"  {count / steps:8.3f}  {name}")
    found = faults(calls, steps)
    print(
        "\n".join(found)
        if found
        else "one launch of a graph and at most one wait for its token: no allocation, no copy, no other synchronisation"
    )
    return 1 if found else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--report")
    parser.add_argument("what", nargs="*", metavar="LIBRARY AWQ MODEL")
    args = parser.parse_args()
    if args.report:
        return judge(json.loads(pathlib.Path(args.report).read_text()))
    if len(args.what) < 3:
        parser.error("give LIBRARY, AWQ and MODEL, or --report FILE")
    report = counted(args.tokens, *args.what)
    if report is None:
        print("nothing was counted: the driver did not load the library, or found no CUPTI")
        return 77
    return judge(report)


if __name__ == "__main__":
    sys.exit(main())
