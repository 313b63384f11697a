import inspect
import os
import pathlib
import pickle
import subprocess
import sys

import awq_cpp
import numpy as np
import pytest
from awq_cpp import errors
from conftest import PROGRAM, ROOT


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONNOUSERSITE": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_quick_and_brings_nothing():
    code = (
        "import time, sys; before = time.process_time()\n"  # of this process alone, whatever else the machine does
        "import awq_cpp, awq_cpp.autoawq, awq_cpp.integrations\n"
        "heavy = [m for m in ('numpy', 'torch', 'transformers', 'pyarrow') if m in sys.modules]\n"
        "print(time.process_time() - before, *heavy)"
    )
    seconds, *heavy = min((run_python(code).split() for _ in range(3)), key=lambda words: float(words[0]))
    assert float(seconds) < 0.3
    assert heavy == []


def test_kernels_for_gpus_are_opened_where_the_build_puts_them():
    plugin = pathlib.Path(awq_cpp.__file__).with_name("libawq_cuda.so")
    if not plugin.exists():
        pytest.skip("this build has no kernels for GPUs")
    try:
        awq_cpp.kernels.to_device(np.zeros(8, np.float16))
    except awq_cpp.DeviceError as no_gpu:
        assert "libawq_cuda.so" not in str(no_gpu)  # the driver is what is missing


def test_is_typed():
    folder = pathlib.Path(awq_cpp.__file__).parent
    assert (folder / "py.typed").exists()
    stub = (folder / "_core.pyi").read_text()
    for name in ("class Model", "def quantize", "class Generation", "def select_kernel", "def pack"):
        assert name in stub
    assert "awq::" not in stub, "a C++ type without a Python name leaks into the stub"


@pytest.mark.parametrize("name", awq_cpp.__all__)
def test_every_public_name_is_documented(name):
    item = getattr(awq_cpp, name)
    if callable(item) or inspect.ismodule(item):
        assert (item.__doc__ or "").strip()


@pytest.mark.parametrize("kind", errors.by_exit_code.values())
def test_errors_survive_pickling_and_know_their_exit_code(kind):
    copy = pickle.loads(pickle.dumps(kind("a sentence")))
    assert type(copy) is kind and str(copy) == "a sentence"
    assert errors.by_exit_code[copy.exit_code] is kind


def test_errors_are_the_types_that_python_programs_catch():
    with pytest.raises(ValueError, match="is neither a folder nor a Hugging Face id") as caught:
        awq_cpp.Model("no such model")
    assert isinstance(caught.value, awq_cpp.BadInputError)
    assert (caught.value.kind, caught.value.exit_code) == ("bad_input", 3)


def test_error_text_is_that_of_the_command_line(demo, tmp_path):
    done = subprocess.run(
        [*PROGRAM, "quantize", demo, tmp_path / "x", "--group-size", "96"], capture_output=True, text=True
    )
    with pytest.raises(awq_cpp.UsageError) as caught:
        awq_cpp.quantize(demo, tmp_path / "x", group_size=96)
    assert str(caught.value) in done.stderr
    assert done.returncode == caught.value.exit_code


def test_types_hold_under_mypy_strict(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    folder = pathlib.Path(awq_cpp.__file__).parent.parent
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, "-p", "awq_cpp"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_style_under_ruff(command):
    pytest.importorskip("ruff", reason="ruff is not installed")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("the sources are not beside these tests")
    folders = [ROOT / "python", ROOT / "examples/python"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", *folders], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
