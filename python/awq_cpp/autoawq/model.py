"""The model that AutoAWQForCausalLM's factories return."""

from __future__ import annotations

import logging
import pathlib
import tempfile
import types
from collections.abc import Mapping
from typing import Any

from .. import _core
from ..errors import UsageError
from .arguments import closest, device_of, warn_ignored
from .calibration import calibration_arguments
from .config import AwqConfig
from .failures import as_autoawq_raises
from .generation import generate_rows
from .progress import progress_bar
from .saving import save_checkpoint
from .tensors import maker_for, rows_of

_LOG = logging.getLogger("awq_cpp")


class AwqQuantizer:
    """AutoAWQ's default `quantizer_cls`; here a name only, the search is the library's own."""


# Parameters of awq_cpp.quantize() that quantize() below passes on.
_PASSED_ON = ("keep_fp16", "salient_by", "objective", "seed", "threads", "progress", "work_dir")


class BaseAWQForCausalLM:
    """A model: to quantize and save, or to generate with. Attributes are those of AutoAWQ."""

    def __init__(
        self,
        folder: pathlib.Path,
        model_type: str,
        config: dict[str, Any],
        *,
        is_quantized: bool,
        device: str = "auto",
        version: str = "auto",
        max_seq_len: int | None = None,
    ) -> None:
        self.model_type = model_type
        self.is_quantized = is_quantized
        self.config = types.SimpleNamespace(**config)
        self.quant_config = AwqConfig()
        self.quantizer: _core.QuantizeReport | None = None
        self.search_result: list[_core.LinearReport] | None = None
        self.processor: Any = None
        self.max_seq_len = max_seq_len
        self._folder = folder
        self._device = device
        self._version = version
        self._scratch: tempfile.TemporaryDirectory[str] | None = None  # keeps what quantize() wrote
        self._model: _core.Model | None = None

    def load(self) -> _core.Model:
        """The model ready to run; loaded once."""
        if self._model is None:
            self._model = _core.Model(self._folder, version=self._version.lower(), device=self._device)
        return self._model

    @property
    def model(self) -> _core.Model:
        return self.load()

    @property
    def device(self) -> str:
        """'cpu' or 'cuda:0': where the model runs. Tensors for generate() may lie anywhere, and come back from where
        they came.
        """
        if self._device == "auto":
            return self.load().device
        return "cuda:0" if self._device == "cuda" else self._device

    def quantize(
        self,
        tokenizer: Any = None,
        quant_config: Mapping[str, Any] | AwqConfig = {},  # noqa: B006  # AutoAWQ's default; nothing writes to it
        calib_data: Any = "pileval",
        split: str = "train",
        text_column: str = "text",
        duo_scaling: bool = True,
        export_compatible: bool = False,
        apply_clip: bool = True,
        n_parallel_calib_samples: int | None = None,
        max_calib_samples: int = 128,
        max_calib_seq_len: int = 512,
        max_chunk_memory: int = 1024 * 1024 * 1024,
        quantizer_cls: Any = AwqQuantizer,
        **kwargs: Any,
    ) -> None:
        """Searches scales and clipping ranges and packs the weights; save_quantized() writes them where you want them.

        `calib_data` (or `calib_dataset`): a data set's name, a path, a list of texts, of token lists or of records with
        a text, or a data set object. `tokenizer` encodes them; without one the model's own does. `duo_scaling=True`
        searches both AutoAWQ's scales and the paper's, False the paper's alone. Beyond AutoAWQ: keep_fp16, salient_by,
        objective, seed, threads, progress, work_dir, as awq_cpp.quantize() has them.
        """
        config = AwqConfig.from_dict(quant_config)
        calib_data = kwargs.pop("calib_dataset", calib_data)
        more = {name: kwargs.pop(name) for name in _PASSED_ON if name in kwargs}
        given = {
            "export_compatible": export_compatible,
            "n_parallel_calib_samples": n_parallel_calib_samples,
            "max_chunk_memory": max_chunk_memory,
            "quantizer_cls": None if quantizer_cls is AwqQuantizer else quantizer_cls,
            **kwargs,
        }
        warn_ignored("quantize", given)
        wanted = max_calib_samples * max_calib_seq_len
        calibration = calibration_arguments(calib_data, tokenizer, split, text_column, wanted)
        scratch = tempfile.TemporaryDirectory(prefix="awq-")
        with as_autoawq_raises(), progress_bar(more.pop("progress", None)) as progress:
            report = _core.quantize(
                self._folder,
                pathlib.Path(scratch.name) / "quantized",
                bits=config.w_bit,
                group_size=config.q_group_size,
                zero_point=config.zero_point,
                version=config.version,
                modules_to_not_convert=config.modules_to_not_convert or [],
                samples=max_calib_samples,
                seqlen=max_calib_seq_len,
                search="both" if duo_scaling else "paper",
                clip=apply_clip,
                progress=progress,
                device=self._device,
                **calibration,
                **more,
            )
        for sentence in report.warnings:
            _LOG.warning(sentence)
        self._become(pathlib.Path(report.out), scratch)
        self.quant_config, self.quantizer, self.search_result = config, report, report.linears

    def _become(self, folder: pathlib.Path, scratch: tempfile.TemporaryDirectory[str]) -> None:
        self._folder, self._scratch = folder, scratch
        self._model = None
        self.is_quantized = True

    def pack(self) -> None:
        """Nothing to do: quantize() packs."""

    def save_quantized(self, save_dir: str, safetensors: bool = True, shard_size: str | int = "5GB") -> None:
        """Writes the quantized model with its tokenizer and everything else that was beside the weights."""
        warn_ignored("save_quantized", {"safetensors": safetensors})
        if not self.is_quantized:
            raise UsageError("there is nothing to save: call quantize() first")
        save_checkpoint(self._folder, pathlib.Path(save_dir), shard_size)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Token ids of prompts and their continuations, as transformers returns them, in what the prompts came in."""
        return generate_rows(self.load(), self._folder, self.max_seq_len, *args, **kwargs)

    def forward(self, input_ids: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        """`.logits` (rows, tokens, vocabulary), float32."""
        rows = rows_of(input_ids, attention_mask)
        if len({len(row) for row in rows}) > 1:
            raise UsageError("forward() takes rows of one length")
        make = maker_for(input_ids)
        logits = [self.load().logits(row) for row in rows]
        return types.SimpleNamespace(logits=make(_stacked(logits)))

    __call__ = forward

    def to(self, device: Any) -> BaseAWQForCausalLM:
        """Moves the model to a device: it is loaded there when it is next used."""
        wanted = device_of(device)
        if wanted != self._device:
            self._device, self._model = wanted, None
        return self

    def cuda(self) -> BaseAWQForCausalLM:
        return self.to("cuda")

    def cpu(self) -> BaseAWQForCausalLM:
        return self.to("cpu")

    def eval(self) -> BaseAWQForCausalLM:
        return self

    def __getattr__(self, name: str) -> Any:
        names = [n for n in dir(type(self)) if not n.startswith("_")]
        raise AttributeError(f"a quantized model has no {name!r}{closest(name, names)}: it is not a torch module")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model_type}{', quantized' if self.is_quantized else ''}>"


def _stacked(arrays: list[Any]) -> Any:
    import numpy

    return numpy.stack(arrays)
