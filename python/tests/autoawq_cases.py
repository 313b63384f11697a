"""What the tests of AutoAWQ's classes share."""

import json
import pathlib
import shutil

import numpy as np
from awq_cpp.autoawq import AutoAWQForCausalLM
from conftest import TEXT

TEXTS = [f"{TEXT} {i}" for i in range(60)]
QUICK = {"max_calib_samples": 4, "max_calib_seq_len": 64}


def quantized_by(demo, **arguments):
    model = AutoAWQForCausalLM.from_pretrained(demo)
    model.quantize(**{"calib_data": TEXTS, **QUICK, **arguments})
    return model


def changed(demo, folder, tensors=None, **config):
    """A copy of a model with other values in config.json, and tensors put through functions of their bfloat16 bits."""
    model = pathlib.Path(shutil.copytree(demo, folder / "model"))
    stored = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**stored, **config}))
    if tensors:
        _rewrite(model / "model.safetensors", tensors)
    return model


def _rewrite(path, changes):
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header, blobs, end = json.loads(data[8:begin]), [], 0
    for name, row in header.items():
        if name == "__metadata__":
            continue
        first, last = (begin + offset for offset in row["data_offsets"])
        bits = np.frombuffer(data[first:last], np.uint16).reshape(row["shape"])
        bits = np.ascontiguousarray(changes.get(name, lambda same: same)(bits))
        blobs.append(bits.tobytes())
        row["shape"], row["data_offsets"] = list(bits.shape), [end, end + bits.nbytes]
        end += bits.nbytes
    words = json.dumps(header).encode()
    path.write_bytes(len(words).to_bytes(8, "little") + words + b"".join(blobs))


def with_last(bits, value):
    """The array with `value` as its last element."""
    bits = bits.copy()
    bits.flat[-1] = value
    return bits
