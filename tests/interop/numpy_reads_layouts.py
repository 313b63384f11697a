#!/usr/bin/env python3
"""Reads our checkpoints with the PyPI package safetensors and numpy, by the formulas of docs/formats.md: the weights must
be those that awq reads, and packing them again must give the words in the file.

    numpy_reads_layouts.py AWQ DEQUANTIZE_DRIVER DEMO_MODEL_FOLDER

Exit code 77, which ctest reports as skipped, when a package is not installed.
"""
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    import safetensors
except ImportError as missing:
    print(f"skipped: this Python has no module `{missing.name}` (pip install numpy safetensors): {sys.executable}")
    sys.exit(77)

from checkpoints import awq_layouts, config_of, linears_of, tensors_of, weights_of
from layouts import LAYOUTS

CASES = [(128, False), (64, False), (32, True), (-1, False)]  # group, symmetric


def check_file(folder):
    for file in folder.glob("model*.safetensors"):
        with safetensors.safe_open(file, "numpy") as opened:
            assert opened.metadata() == {"format": "pt"}, opened.metadata()


def check_linear(layout, tensors, want, group):
    """Returns the number of words compared."""
    pack, unpack, _ = LAYOUTS[layout]
    n, k = want.shape
    group = k if group == -1 else group
    tensors = dict(tensors)
    assert (tensors.pop("pre_quant_scale", np.ones(1)) == 1).all(), "inputs are scaled"  # modelopt's o_proj, down_proj
    q, scales, zeros = unpack(tensors, n, k, group)
    got = (q.astype(np.float32) - np.repeat(zeros, group, axis=1)) * np.repeat(scales, group, axis=1).astype(np.float32)
    assert np.array_equal(got, want), f"{np.sum(got != want)} weights differ"
    again = pack(q, scales, zeros, group)
    assert set(again) == set(tensors), (set(again), set(tensors))
    for suffix, tensor in tensors.items():
        assert tensor.dtype == again[suffix].dtype and tensor.shape == again[suffix].shape, suffix
        assert np.array_equal(tensor, again[suffix]), suffix
    return sum(t.size for t in tensors.values())


def notices_one_bit(layout, tensors, want, group):
    """The test of the test: any one bit of any tensor must be missed by somebody."""
    for suffix in tensors:
        damaged = dict(tensors, **{suffix: tensors[suffix].copy()})
        damaged[suffix].view(np.uint8).reshape(-1)[0] ^= 1
        try:
            check_linear(layout, damaged, want, group)
        except AssertionError:
            continue
        sys.exit(f"{layout}: one bit of {suffix} changed and nothing was noticed")


def main():
    awq, driver, demo = sys.argv[1:]
    compared = 0
    with tempfile.TemporaryDirectory() as root:
        for group, symmetric in CASES:
            reference = None
            for layout, folder in awq_layouts(awq, demo, Path(root), group, symmetric).items():
                check_file(folder)
                weights = weights_of(driver, folder, Path(root) / "weights.safetensors")
                reference = reference or weights
                assert all(np.array_equal(weights[m], reference[m]) for m in reference), f"{layout} changed weights"
                linears = linears_of(tensors_of(folder), layout)
                assert set(linears) == set(weights) and len(linears) == 7 * config_of(folder)["num_hidden_layers"]
                for module, tensors in linears.items():
                    try:
                        compared += check_linear(layout, tensors, weights[module], group)
                    except AssertionError as why:
                        sys.exit(f"{layout}, group {group}, symmetric {symmetric}, {module}: {why}")
                notices_one_bit(layout, tensors, weights[module], group)
    print(f"{compared} packed elements are what the formulas say, in {len(LAYOUTS)} layouts")


if __name__ == "__main__":
    main()
