"""Parameters of AutoAWQ that have nothing to do here: a row each, with the sentence that the caller is warned with."""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any


class IgnoredArgument(UserWarning):
    """A parameter of AutoAWQ was given a value that changes nothing here; the text says why."""


# Method -> parameter -> (values that need no word, why it is ignored).
IGNORED: dict[str, dict[str, tuple[tuple[Any, ...], str]]] = {
    "from_pretrained": {
        "torch_dtype": (("auto", None), "weights are read in the type they are stored in, and scales are float16"),
        "trust_remote_code": ((True, False, None), "nothing in a checkpoint is ever executed"),
        "safetensors": ((True,), "only safetensors are read: .bin and .pt files are pickles, which can execute code"),
        "low_cpu_mem_usage": ((True, None), "one block of the model is in memory at a time in any case"),
        "use_cache": ((False, None), "calibration needs no cache of keys and values"),
    },
    "quantize": {
        "export_compatible": ((False,), "the weights are always packed, as AWQ loaders read them"),
        "n_parallel_calib_samples": (
            (None,),
            "memory does not grow with the samples; `max_calib_samples` sets their number",
        ),
        "max_chunk_memory": (
            (1024 * 1024 * 1024, None),
            "no activations are kept, so there is nothing to cut into chunks",
        ),
        "quantizer_cls": ((None,), "the search is the library's own"),
    },
    "save_quantized": {
        "safetensors": (
            (True,),
            "only safetensors are written: .bin and .pt files are pickles, which can execute code",
        ),
    },
    "from_quantized": {
        "quant_filename": (("", None), "the folder's index names its files"),
        "trust_remote_code": ((True, False, None), "nothing in a checkpoint is ever executed"),
        "fuse_layers": ((True, None), "the layers are fused whenever a kernel does that"),
        "use_exllama": ((False, None), "`version=` chooses the kernels"),
        "use_exllama_v2": ((False, None), "`version=` chooses the kernels"),
        "use_ipex": ((False, None), "CPUs have kernels of their own here"),
        "use_qbits": ((False, None), "CPUs have kernels of their own here"),
        "safetensors": ((True,), "only safetensors are read: .bin and .pt files are pickles, which can execute code"),
        "batch_size": ((1, None), "generate() takes any number of rows"),
        "max_memory": ((None,), "a model runs on one device"),
        "offload_folder": ((None,), "a model runs on one device"),
        "torch_dtype": (("auto", None), "weights are used in the type they are stored in"),
    },
    "generate": {
        "use_cache": ((True, None), "keys and values are always cached"),
        "num_beams": ((1, None), "one continuation is made for each prompt"),
        "return_dict_in_generate": ((False, None), "the token ids are returned"),
    },
}


def _level_of_caller() -> int:
    """How far up the stack the line is that is not of this package: the one to name in a warning."""
    own = os.path.dirname(os.path.dirname(__file__))
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        level, frame = level + 1, frame.f_back
    return level


def warn(sentence: str) -> None:
    warnings.warn(sentence, IgnoredArgument, stacklevel=_level_of_caller())


def warn_ignored(method: str, given: Mapping[str, Any]) -> None:
    """One warning for each parameter in `given` whose value asks for what does not exist here."""
    rows = IGNORED[method]
    for name, value in given.items():
        quiet, why = rows.get(name, ((), "AutoAWQ has no such parameter, and nor has this library"))
        if not any(value is q or (type(value) is type(q) and value == q) for q in quiet):
            warn(f"{method}({name}={value!r}) is ignored: {why}")


def closest(name: str, names: list[str]) -> str:
    """ "; did you mean ...?", or nothing."""
    found = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def device_of(device_map: Any) -> str:
    """The device that `device_map` asks for, as Model takes it."""
    if isinstance(device_map, Mapping):
        values = {device_of(value) for value in device_map.values()}
        if len(values) == 1:
            return values.pop()
        warn("a device_map with several devices is ignored: a model runs on one device")
        return "auto"
    if device_map is None or device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return "auto"
    return f"cuda:{device_map}" if isinstance(device_map, int) else str(device_map)
