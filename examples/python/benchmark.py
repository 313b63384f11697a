#!/usr/bin/env python3
"""Times one query with each kernel version, and one linear for more and more tokens; draws both with matplotlib.

examples/python/benchmark.py out/demo-awq --plot benchmark.png
"""

import argparse
import functools
import statistics
import time

import awq_cpp
import numpy as np
from awq_cpp import kernels

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128)


def random_linear(n, k, group=128):
    """Random codes in the layout 'plain': what a linear takes does not depend on what it holds."""
    random = np.random.default_rng(0)
    codes = lambda shape: random.integers(0, 16, shape, dtype=np.uint8)  # noqa: E731
    scales = np.full((n, k // group), 0.01, np.float16)
    return kernels.pack(codes((n, k)), codes((n, k // group)), scales, "plain", group_size=group)


def microseconds(call, repeat):
    call()  # page faults, clocks
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


def time_linear(n, k, repeat):
    """Median microseconds for each version and number of tokens."""
    packed = random_linear(n, k)
    results = {version: [] for version in ("gemv", "gemm", "auto")}
    for m in TOKENS:
        x = np.random.default_rng(m).standard_normal((m, k)).astype(np.float32)
        for version, row in results.items():
            row.append(microseconds(functools.partial(kernels.linear, x, packed, version), repeat))
    return results


def draw(path, latencies, linear, shape):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    ran = [latency for latency in latencies if not latency.refusal]
    left.bar([latency.version for latency in ran], [latency.token_percentile(0.5) * 1e3 for latency in ran])
    left.set(title="one query", ylabel="ms a token, median")
    for version, times in linear.items():
        right.loglog(TOKENS, times, marker="o", label=version, linestyle="--" if version == "auto" else "-")
    right.set(title=f"one linear, {shape[0]} x {shape[1]}", xlabel="tokens at once", ylabel="microseconds, median")
    right.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="quantized model: folder, or org/name in the local Hugging Face cache")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--generate", type=int, default=32, help="tokens to generate")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--n", type=int, default=1024, help="output features of the linear")
    parser.add_argument("--k", type=int, default=1024, help="input features of the linear")
    parser.add_argument("--plot", help="picture to write; needs matplotlib")
    arguments = parser.parse_args()

    latencies = awq_cpp.bench(
        arguments.model, prompt=arguments.prompt, generate=arguments.generate, repeat=arguments.repeat
    )
    print(f"{'version':<8}{'first token':>14}{'token p50':>12}{'p95':>12}{'tokens/s':>10}")
    for latency in latencies:
        if latency.refusal:
            print(f"{latency.version:<8}{latency.refusal}")
            continue
        p50, p95 = latency.token_percentile(0.5) * 1e3, latency.token_percentile(0.95) * 1e3
        first, rate = latency.first_token * 1e3, latency.tokens_per_second
        print(f"{latency.version:<8}{first:>11.2f} ms{p50:>9.2f} ms{p95:>9.2f} ms{rate:>10.1f}")

    linear = time_linear(arguments.n, arguments.k, arguments.repeat)
    print(f"\n{'tokens':<8}" + "".join(f"{m:>9}" for m in TOKENS))
    for version, times in linear.items():
        print(f"{version:<8}" + "".join(f"{t:>6.1f} us" for t in times))
    if arguments.plot:
        draw(arguments.plot, latencies, linear, (arguments.n, arguments.k))


if __name__ == "__main__":
    main()
