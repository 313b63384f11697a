"""AWQ 4-bit quantization of language models, and the kernels that run them: the C++ library of awq.cpp for Python.

    import awq_cpp

    awq_cpp.quantize("org/model", "model-awq")
    for piece in awq_cpp.Model("model-awq").generate("Once upon a time"):
        print(piece, end="", flush=True)

Models are folders, or org/name in the local Hugging Face cache. Every failure is an awq_cpp.Error with one sentence
that says what to do. Ctrl-C stops any call (a model that is being loaded is loaded first); calls leave the GIL free.

The program `awq` of the command line is part of the package, as `awq` and `python -m awq_cpp`, and so are the kernels
for NVIDIA GPUs where it was built with CUDA; devices() says what there is, or what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from . import kernels
from ._core import (
    CheckpointInfo,
    Device,
    EvaluateReport,
    GenerateTiming,
    Generation,
    KernelStatus,
    LinearReport,
    Model,
    ModuleInfo,
    PackedLinear,
    QuantizeProgress,
    QuantizeReport,
    ServeCheck,
    StageSeconds,
    builtin_text,
    convert,
    devices,
    inspect,
    kernel_status,
    quantize,
    read_documents,
    read_text,
    select_kernel,
)
from ._core import version as __version__
from .benchmark import Latency, bench
from .errors import (
    BadInputError,
    CheckFailedError,
    DeviceError,
    Error,
    ExistsError,
    Interrupted,
    NoRoomError,
    UsageError,
)

__all__ = [
    "BadInputError",
    "CheckFailedError",
    "CheckpointInfo",
    "Device",
    "DeviceError",
    "Error",
    "EvaluateReport",
    "ExistsError",
    "GenerateTiming",
    "Generation",
    "Interrupted",
    "KernelStatus",
    "Latency",
    "LinearReport",
    "Model",
    "ModuleInfo",
    "NoRoomError",
    "PackedLinear",
    "QuantizeProgress",
    "QuantizeReport",
    "ServeCheck",
    "StageSeconds",
    "UsageError",
    "__version__",
    "bench",
    "builtin_text",
    "convert",
    "devices",
    "evaluate",
    "generate",
    "inspect",
    "kernel_status",
    "kernels",
    "quantize",
    "read_documents",
    "read_text",
    "select_kernel",
]


def _loaded(model: Model | str | os.PathLike[str]) -> Model:
    return model if isinstance(model, Model) else Model(model)


def generate(
    model: Model | str | os.PathLike[str],
    prompt: str | Sequence[int],
    *,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 42,
    stop_at_eos: bool = True,
) -> Generation:
    """Model.generate() for a model or its folder; a folder is loaded for this one call."""
    return _loaded(model).generate(
        prompt,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop_at_eos=stop_at_eos,
    )


def evaluate(
    model: Model | str | os.PathLike[str],
    text: str,
    *,
    against: Model | str | os.PathLike[str] | None = None,
    window: int = 512,
    max_windows: int = 60,
    max_chars: int = 1_500_000,
    add_bos: bool = False,
    progress: Callable[[int, int], Any] | None = None,
) -> EvaluateReport:
    """Model.evaluate() for models or their folders: perplexity of a text, and with `against` the distance from that
    model.
    """
    return _loaded(model).evaluate(
        text,
        against=None if against is None else _loaded(against),
        window=window,
        max_windows=max_windows,
        max_chars=max_chars,
        add_bos=add_bos,
        progress=progress,
    )
