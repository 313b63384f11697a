"""What the tests share."""

import json
import pathlib
import shutil
import subprocess
import sys

import awq_cpp
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# In a checkout, or beside this folder where tools/gpu_python_checks.sh has put both.
DEMO = next(
    folder for folder in (ROOT / "models/demo", pathlib.Path(__file__).resolve().parents[1] / "demo") if folder.exists()
)
TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness. "
PROGRAM = [sys.executable, "-m", "awq_cpp"]  # `awq`

# What a child begins with that is to be interrupted: a job in the background inherits an ignored SIGINT.
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@pytest.fixture(scope="session")
def demo():
    return str(DEMO)


@pytest.fixture(scope="session")
def one_block(tmp_path_factory):
    """The demo model without its other blocks, for tests that do not depend on how many there are."""
    folder = tmp_path_factory.mktemp("model") / "demo"
    shutil.copytree(DEMO, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    return str(folder)


@pytest.fixture(scope="session")
def model():
    return awq_cpp.Model(DEMO)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"The river rose {i} times, and every time the old bridge held. " for i in range(700)))
    return path


@pytest.fixture(scope="session")
def quantized(tmp_path_factory, text_file):
    out = tmp_path_factory.mktemp("awq") / "demo-awq"
    awq_cpp.quantize(DEMO, out, calib=text_file, samples=8, seqlen=128)
    return out


@pytest.fixture(scope="session")
def saved(tmp_path_factory, one_block):
    """What a script of AutoAWQ makes of that one block."""
    from autoawq_cases import quantized_by

    out = tmp_path_factory.mktemp("saved") / "awq"
    quantized_by(one_block).save_quantized(out)
    return out


@pytest.fixture(scope="session")
def cli():
    """Runs the program that is compared with; its answer as JSON."""

    def run(*arguments):
        done = subprocess.run([*PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def contents(folder):
    return {f.name: f.read_bytes() for f in pathlib.Path(folder).iterdir()}
