import os
import subprocess
import sys

import pytest
from conftest import ROOT

EXAMPLES = ROOT / "examples/python"


def run(name, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_quantize(demo, text_file, tmp_path):
    out = run(
        "quantize.py", demo, tmp_path / "awq", "--calib", text_file, "--samples", 4, "--seqlen", 64, "--text", text_file
    )
    assert "4.156 bits a weight" in out and "KL" in out and (tmp_path / "awq/model.safetensors").exists()


def test_choose_kernel():
    out = run("choose_kernel.py")
    assert "9.0 (H100, H200)" in out and "Kernel version not supported on this hardware" in out


def test_benchmark(quantized, tmp_path):
    out = run("benchmark.py", quantized, "--prompt", 8, "--generate", 4, "--repeat", 1, "--n", 256, "--k", 256)
    assert out.count("gemv") == 2 and "tokens/s" in out


def test_benchmark_draws(quantized, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    run(
        "benchmark.py",
        quantized,
        "--prompt",
        8,
        "--generate",
        4,
        "--repeat",
        1,
        "--n",
        256,
        "--k",
        256,
        "--plot",
        tmp_path / "b.png",
    )
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
