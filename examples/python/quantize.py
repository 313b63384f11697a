#!/usr/bin/env python3
"""Quantizes a model, measures how far it is from the original, and lets it write.

examples/python/quantize.py models/demo out/demo-awq --text book.txt
"""

import argparse
import sys

import awq_cpp


def show(progress):
    if progress.note:
        print(f"block {progress.block} of {progress.blocks}: {progress.note}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder, or org/name in the local Hugging Face cache")
    parser.add_argument("out", help="folder to create")
    parser.add_argument("--calib", help="text to calibrate on; a built-in sample when absent")
    parser.add_argument(
        "--text", help="text to compare the two on, other than the calibration's; the built-in sample when absent"
    )
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--seqlen", type=int, default=512)
    arguments = parser.parse_args()

    report = awq_cpp.quantize(
        arguments.model,
        arguments.out,
        calib=arguments.calib,
        samples=arguments.samples,
        seqlen=arguments.seqlen,
        progress=show,
    )
    worst = max(report.linears, key=lambda linear: linear.loss)
    print(f"{report.bytes_in / 1e6:.1f} MB to {report.bytes_out / 1e6:.1f} MB in {report.seconds:.1f} s")
    print(f"{report.bits_per_weight:.3f} bits a weight; largest output error: {worst.name}, {worst.loss:.3g}")
    print(f"plain rounding would leave {worst.rtn_loss:.3g} there; chosen: {worst.chosen}")

    text = awq_cpp.read_text(arguments.text) if arguments.text else awq_cpp.builtin_text()
    model = awq_cpp.Model(report.out)
    distance = model.evaluate(text, against=awq_cpp.Model(arguments.model), window=256, max_windows=20)
    print(f"perplexity {distance.perplexity:.3f}, of the original {distance.reference_perplexity:.3f}")
    print(f"KL divergence from the original: {distance.kl:.4f} nats a token")

    for piece in model.generate("Once upon a time", max_new_tokens=40):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
