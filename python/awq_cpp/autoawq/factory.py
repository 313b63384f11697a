"""AutoAWQForCausalLM: the two ways to a model."""

from __future__ import annotations

import json
import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

from .. import _core
from ..errors import BadInputError
from .arguments import device_of, warn, warn_ignored
from .config import AwqConfig
from .failures import NotAFactoryError, UnsupportedModelError, as_autoawq_raises
from .model import BaseAWQForCausalLM


def _at_revision(
    path: str | os.PathLike[str], download_kwargs: Mapping[str, Any] | None, more: dict[str, Any], method: str
) -> str:
    """org/name@revision where one is asked for; what else concerns downloads is ignored by name."""
    wishes = {**(download_kwargs or {})}
    if "revision" in more:
        wishes["revision"] = more.pop("revision")
    revision = wishes.pop("revision", None)
    for name, value in wishes.items():
        warn(f"{method}(download_kwargs={{{name!r}: {value!r}}}) is ignored: nothing is downloaded")
    name = os.fspath(path)
    return f"{name}@{revision}" if revision and not os.path.isdir(name) else name


def _read_config(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise BadInputError(f"{folder} has no config.json: give the folder of a Hugging Face model")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def _check_model_type(config: dict[str, Any]) -> str:
    model_type = str(config.get("model_type", ""))
    name = (config.get("architectures") or [""])[0]
    if refusal := _core.architecture_refusal(name, model_type):
        raise UnsupportedModelError(f"{model_type or name} isn't supported yet. {refusal}")
    return model_type


def _opened(name: str) -> tuple[pathlib.Path, dict[str, Any], str]:
    folder = _core.resolve_model(name)
    config = _read_config(folder)
    return folder, config, _check_model_type(config)


class AutoAWQForCausalLM:
    """Loads models: from_pretrained() to quantize one, from_quantized() to run one."""

    def __init__(self) -> None:
        raise NotAFactoryError(
            "You must instantiate AutoAWQForCausalLM with\n"
            "AutoAWQForCausalLM.from_quantized or AutoAWQForCausalLM.from_pretrained"
        )

    @classmethod
    def from_pretrained(
        cls,
        model_path: str | os.PathLike[str],
        torch_dtype: Any = "auto",
        trust_remote_code: bool = True,
        safetensors: bool = True,
        device_map: Any = None,
        download_kwargs: Mapping[str, Any] | None = None,
        low_cpu_mem_usage: bool = True,
        use_cache: bool = False,
        **model_init_kwargs: Any,
    ) -> BaseAWQForCausalLM:
        """A model to quantize. Its weights are read block by block, when quantize() needs them."""
        name = _at_revision(model_path, download_kwargs, model_init_kwargs, "from_pretrained")
        given = {
            "torch_dtype": torch_dtype,
            "trust_remote_code": trust_remote_code,
            "safetensors": safetensors,
            "low_cpu_mem_usage": low_cpu_mem_usage,
            "use_cache": use_cache,
            **model_init_kwargs,
        }
        warn_ignored("from_pretrained", given)
        folder, config, model_type = _opened(name)
        return BaseAWQForCausalLM(folder, model_type, config, is_quantized=False, device=device_of(device_map))

    @classmethod
    def from_quantized(
        cls,
        quant_path: str | os.PathLike[str],
        quant_filename: str = "",
        max_seq_len: int = 2048,
        trust_remote_code: bool = True,
        fuse_layers: bool = True,
        use_exllama: bool = False,
        use_exllama_v2: bool = False,
        use_ipex: bool = False,
        batch_size: int = 1,
        safetensors: bool = True,
        device_map: Any = "balanced",
        max_memory: Any = None,
        offload_folder: Any = None,
        download_kwargs: Mapping[str, Any] | None = None,
        **config_kwargs: Any,
    ) -> BaseAWQForCausalLM:
        """A quantized model, ready to generate. Beyond AutoAWQ: `version` ('GEMM', 'GEMV', 'auto', or a kernel's name)
        chooses the kernels for any layout on disk."""
        version = str(config_kwargs.pop("version", None) or "auto")
        device_map = config_kwargs.pop("device", None) or device_map
        if config_kwargs.get("max_new_tokens") is not None:
            warnings.warn("max_new_tokens is deprecated: use max_seq_len", DeprecationWarning, stacklevel=2)
            max_seq_len = config_kwargs["max_new_tokens"]
        config_kwargs.pop("max_new_tokens", None)
        name = _at_revision(quant_path, download_kwargs, config_kwargs, "from_quantized")
        given = {
            "quant_filename": quant_filename,
            "trust_remote_code": trust_remote_code,
            "fuse_layers": fuse_layers,
            "use_exllama": use_exllama,
            "use_exllama_v2": use_exllama_v2,
            "use_ipex": use_ipex,
            "batch_size": batch_size,
            "safetensors": safetensors,
            "max_memory": max_memory,
            "offload_folder": offload_folder,
            **config_kwargs,
        }
        warn_ignored("from_quantized", given)
        folder, config, model_type = _opened(name)
        with as_autoawq_raises():
            model = BaseAWQForCausalLM(
                folder,
                model_type,
                config,
                is_quantized=True,
                device=device_of(device_map),
                version=version,
                max_seq_len=max_seq_len,
            )
            model.load()
        stored = config.get("quantization_config") or {}
        model.quant_config = AwqConfig(
            zero_point=stored.get("zero_point", True),
            q_group_size=stored.get("group_size", stored.get("q_group_size", 128)),
            w_bit=stored.get("bits", stored.get("w_bit", 4)),
            version=str(stored.get("version", "gemm")).lower(),
            modules_to_not_convert=stored.get("modules_to_not_convert"),
        )
        return model
