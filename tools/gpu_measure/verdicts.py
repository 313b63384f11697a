#!/usr/bin/env python3
"""What the results of tools/gpu_measure.sh say: each demand, the figure that was measured, and whether it holds.

usage: verdicts.py RESULTS
Exit code: 1 when a demand does not hold, else 0; what was not measured is said and does not count.
"""

import json
import pathlib
import statistics
import sys

GB = 1e9
MIB = 1 << 20
HOST_GROWTH = 8 * MIB  # ids, seconds and text of 10,000 tokens are less than 1 MB


class NotMeasured(Exception):
    """A result that the line needs is not there."""


class Results:
    """The folder that gpu_measure.sh writes: NAME.json of a program's answer, STEP.status with its exit code."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def json(self, name):
        file = self.folder / f"{name}.json"
        try:  # the answer comes first; what a program says after it is not of it
            return json.JSONDecoder().raw_decode(file.read_text().lstrip())[0]
        except (OSError, ValueError) as reason:
            raise NotMeasured(f"no {file.name}") from reason

    def status(self, step):
        file = self.folder / f"{step}.status"
        if not file.exists():
            raise NotMeasured(f"no {file.name}")
        return int(file.read_text().split()[0])


# ---- quantizing ----

WAITS = ("wait for reading", "wait for writing")
STAGES = ("load", "calibrate", "search", "clip", "pack")


def computing_seconds(report):
    return sum(s["seconds"] for s in report["stages"] if s["track"] == "compute" and s["stage"] in STAGES)


def peaks(results, name, host_gb, gpu_gb):
    memory = results.json(f"{name}-memory")
    host, gpu = memory["host_peak_bytes"] / GB, (memory["gpu_peak_mib"] or 0) * MIB / GB
    return f"host {host:.2f} GB, GPU {gpu:.2f} GB", host <= host_gb and 0 < gpu <= gpu_gb


def quantized(name):
    def line(results):
        report = results.json(name)
        words, fits = peaks(results, name, 6, 16)
        wall, computing = report["seconds"], computing_seconds(report)
        return f"{wall:.1f} s, computing {computing:.1f} s; {words}", wall <= 25 and computing <= 12 and fits

    return line


def projected(results):
    """From one block's begin to the next, times the blocks that were left out."""
    whole, report = 80, results.json("llama3-70b")
    events = [e for e in results.json("llama3-70b-trace")["traceEvents"] if e["ph"] == "X"]
    loads = sorted((e["args"]["block"], e["ts"] / 1e6) for e in events if e["name"] == "load")
    block = statistics.median(b - a for (_, a), (_, b) in zip(loads[1:], loads[2:]))
    seconds = report["seconds"] + block * (whole - len(loads))
    computing = computing_seconds(report) / len(loads) * whole
    words, fits = peaks(results, "llama3-70b", 1e9, 24)
    return (
        f"{seconds:.0f} s for {whole} blocks of {block:.2f} s, computing {computing:.0f} s; {len(loads)} ran; {words}",
        seconds <= 240 and computing <= 150 and fits,
    )


def same_choices(results):
    """The GPU's choices are the CPU's, but for candidates of nearly equal loss."""
    cpu, gpu = (results.json(f"accuracy-quantize-{d}")["linears"] for d in ("cpu", "cuda"))
    others = [(c, g) for c, g in zip(cpu, gpu) if c["chosen"] != g["chosen"]]
    apart = max((abs(c["loss"] - g["loss"]) / c["loss"] for c, g in others), default=0)
    return (
        f"{len(cpu) - len(others)} of {len(cpu)} linears with the same scale; the others' losses {apart:.1e} apart",
        len(cpu) == len(gpu) and apart < 1e-4,
    )


def perplexities(results):
    values = {
        f"{q}/{e}": results.json(f"accuracy-{q}-{e}")["perplexity"] for q in ("cpu", "cuda") for e in ("cpu", "cuda")
    }
    spread = max(values.values()) - min(values.values())
    return (
        f"{spread:.4f} apart; quantized on / scored on: " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()),
        spread <= 0.01,
    )


# ---- running ----


def cells(results, name, **wanted):
    found = [c for c in results.json(name)["versions"] if all(c[k] == v for k, v in wanted.items())]
    if not found:
        raise NotMeasured(f"{name} has no cell {wanted}")
    return found


def roofline(name):
    def line(results):
        cell = cells(results, name, version="auto", prompt_tokens=512, batch=1)[0]
        share = cell["share_of_roofline"]
        return f"{100 * share:.1f} %, {cell['token_p50'] * 1e3:.3f} ms a token", share >= 0.6

    return line


def together(name):
    def line(results):
        one, many = (cells(results, name, version="auto", prompt_tokens=512, batch=b)[0] for b in (1, 16))
        times = many["tokens_per_second"] / one["tokens_per_second"]
        return f"{times:.1f} times the {one['tokens_per_second']:.0f} tokens/s of one", times >= 10

    return line


def prompt_rate(name):
    def line(results):
        cell = cells(results, name, version="auto", prompt_tokens=2048, batch=1)[0]
        share, first = cell["prompt_share_of_fp16"], statistics.median(cell["first_token_seconds"])
        return f"{100 * share:.1f} % of the fp16 product, {first * 1e3:.1f} ms", share >= 0.5

    return line


def auto_choice(results):
    choices = results.json("versions8b").get("best_forced", [])
    measured = [c for c in choices if c["auto_within_tolerance"] is not None]
    if not measured:
        raise NotMeasured("versions8b forced nothing beside auto")
    worst = {what: max(measured, key=lambda c: c[what]["auto_excess"]) for what in ("first_token", "token")}
    words = ", ".join(
        f"{what.replace('_', ' ')} {100 * c[what]['auto_excess']:+.1f} % at batch {c['batch']}"
        for what, c in worst.items()
    )
    return f"longest of {len(measured)} batches: {words}", all(c["auto_within_tolerance"] for c in measured)


def no_growth(results):
    seen = results.json("memory-memory")
    host, gpu = seen["host_growth_bytes"], seen["gpu_growth_mib"]
    if host is None or gpu is None:
        raise NotMeasured("fewer than two samples of memory in the token loop")
    return (
        f"GPU {gpu:+d} MiB, host {host / MIB:+.1f} MiB in {seen['output_seconds']:.0f} s",
        seen["exit_code"] == 0 and gpu <= 0 and host <= HOST_GROWTH,
    )


def greedy(model):
    def line(results):
        cpu, gpu = (results.json(f"greedy-{model}-{d}")["token_ids"] for d in ("cpu", "cuda"))
        same = next((i for i, (a, b) in enumerate(zip(cpu, gpu)) if a != b), min(len(cpu), len(gpu)))
        return f"{same} of {len(cpu)} tokens the same", cpu == gpu

    return line


def ended(step, words):
    def line(results):
        code = results.status(step)
        if code == 77:
            raise NotMeasured("skipped")
        return words if code == 0 else f"exit {code}, see {step}.log", code == 0

    return line


LINES = [
    ("llama3-8b: >= 60 % of the roofline, batch 1, 512 + 128", roofline("decode8b")),
    ("llama2-7b: >= 60 % of the roofline, batch 1, 512 + 128", roofline("decode7b")),
    ("llama3-8b: batch 16 at least 10 x the tokens/s of batch 1", together("decode8b")),
    ("llama2-7b: the same", together("decode7b")),
    ("llama3-8b: prompt of 2048 at >= 50 % of fp16 cuBLAS", prompt_rate("decode8b")),
    ("llama2-7b: the same", prompt_rate("decode7b")),
    ("auto <= 3 % slower than gemv or gemm, batch 1..64", auto_choice),
    ("token loop: one launch, one wait, nothing else", ended("loop", "as said")),
    ("10,000 tokens without memory growth", no_growth),
    ("device lost: checkpointed, exit 5, resumed to the same bytes", ended("lose", "as said")),
    ("kill -9 on the GPU, --resume: the same bytes", ended("kill9", "every resumed output")),
    ("llama2-7b: <= 25 s wall, computing <= 12 s, 6 and 16 GB", quantized("llama2-7b")),
    ("a card too small for a block: the same bytes", ended("smallcard", "the same bytes, linear by linear")),
    ("the same bytes for batches of 1, 8 and 32 windows", ended("batches", "the same bytes")),
    ("CPU's and GPU's checkpoint: the same but for losses within 1e-4", same_choices),
    ("their perplexities within 0.01", perplexities),
    ("greedy text is the CPU's, 64 tokens, models/demo", greedy("demo")),
    ("greedy text is the CPU's, 64 tokens, the trained model", greedy("trained")),
    ("memcheck of quantize and generate", ended("sanitizer", "no error")),
    ("llama3-8b: <= 25 s wall, computing <= 12 s, 6 and 16 GB", quantized("llama3-8b")),
    ("llama3-70b: <= 4 minutes, computing <= 2.5, GPU <= 24 GB", projected),
]


def verdicts(folder):
    """(demand, figure, whether it holds or None) for every line."""
    results = Results(folder)
    for demand, line in LINES:
        try:
            yield demand, *line(results)
        except NotMeasured as reason:
            yield demand, f"not measured: {reason}", None
        except (
            KeyError,
            IndexError,
            statistics.StatisticsError,
        ) as reason:  # of an answer that is an error
            yield demand, f"not measured: the answer lacks {reason}", None


def main():
    rows = list(verdicts(sys.argv[1]))
    width = max(len(demand) for demand, _, _ in rows)
    for demand, figure, holds in rows:
        print(f"{demand:<{width}}  {'-' if holds is None else 'holds' if holds else 'DOES NOT':<8}  {figure}")
    return 1 if any(holds is False for _, _, holds in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
