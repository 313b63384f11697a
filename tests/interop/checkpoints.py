"""Checkpoints of models/demo in every layout, made with the command line, for the tests that let others read them."""
import json
import subprocess
from pathlib import Path

import numpy as np
from layouts import LAYOUTS, SYMMETRIC
from safetensors.numpy import load_file


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def awq_layouts(awq, demo, root, group, symmetric):
    """{layout: folder} of one quantization: gemm is quantized, the others are converted from it."""
    first = root / f"gemm-{group}-{symmetric}"
    run(awq, "quantize", demo, first, "-q", "--group-size", group, "--search", "paper", "--samples", 2, "--seqlen", 64,
        *(["--sym"] if symmetric else []))
    folders = {"gemm": first}
    for layout in LAYOUTS:
        if layout == "gemm" or (layout in SYMMETRIC and (not symmetric or group == -1)):
            continue
        folders[layout] = first.with_name(f"{layout}-{group}-{symmetric}")
        run(awq, "convert", first, folders[layout], "--to", layout, "-q")
    return folders


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def tensors_of(folder):
    """All tensors as numpy arrays, by name."""
    return {name: t for file in sorted(Path(folder).glob("model*.safetensors")) for name, t in load_file(file).items()}


def linears_of(tensors, layout):
    """{module: {suffix: tensor}} of the packed linears."""
    codes = "." + LAYOUTS[layout][2]
    modules = [name.removesuffix(codes) for name, t in tensors.items()
               if name.endswith(codes) and np.issubdtype(t.dtype, np.integer)]
    return {m: {name.removeprefix(m + "."): t for name, t in tensors.items() if name.startswith(m + ".")} for m in modules}


def weights_of(driver, folder, scratch):
    """The weights as awq reads them: {module: float32 (n, k)}."""
    run(driver, folder, scratch)
    return {name.removesuffix(".weight"): np.asarray(t) for name, t in load_file(scratch).items()}
