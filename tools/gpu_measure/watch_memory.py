#!/usr/bin/env python3
"""Runs a command and watches what memory it takes: its resident set on the host, all that lies on the GPU (nvidia-smi).

usage: watch_memory.py [--quiet] OUT.json COMMAND...

OUT.json gets the peaks, and the growth from the command's first output to its last: of `awq generate`, from the first
token to the last. With --quiet the output is not passed on. The exit code is the command's.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time

PERIOD = 0.1  # seconds between samples of the host
SMI = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0", "-lms", "200"]


def resident_bytes(pid):
    """0 once the process has ended."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


class GpuMemory:
    """MiB in use on the first GPU, asked for all the time; no samples where there is no nvidia-smi."""

    def __init__(self):
        self.samples = []
        self.smi = (
            subprocess.Popen(SMI, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if shutil.which(SMI[0])
            else None
        )
        if self.smi:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.smi.stdout:
            if line.strip().isdigit():
                self.samples.append((time.monotonic(), time.monotonic(), int(line)))

    def stop(self):
        if self.smi:
            self.smi.kill()
            self.smi.wait()


def growth(samples, first, last):
    """Of (asked, told, value) from the first after `first` to the last before `last`; None where there are not two."""
    between = [value for asked, told, value in samples if first <= asked and told <= last]
    return between[-1] - between[0] if len(between) > 1 else None


def watch(command, passes_on):
    gpu = GpuMemory()
    host, output = [], []
    process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def copy():
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            output.append(time.monotonic())
            if passes_on:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()

    copying = threading.Thread(target=copy)
    begun = time.monotonic()
    copying.start()
    while process.poll() is None:
        asked, size, told = time.monotonic(), resident_bytes(process.pid), time.monotonic()
        if size:
            host.append((asked, told, size))
        time.sleep(PERIOD)
    copying.join()
    gpu.stop()
    first, last = (output[0], output[-1]) if output else (begun, begun)
    return process.returncode, {
        "command": command,
        "exit_code": process.returncode,
        "seconds": time.monotonic() - begun,
        "output_seconds": last - first,
        "host_peak_bytes": max((size for *_, size in host), default=0),
        "host_growth_bytes": growth(host, first, last),
        "gpu_peak_mib": max((used for *_, used in gpu.samples), default=None),
        "gpu_growth_mib": growth(gpu.samples, first, last),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("out")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    code, seen = watch(args.command, not args.quiet)
    with open(args.out, "w") as out:
        json.dump(seen, out, indent=1)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
