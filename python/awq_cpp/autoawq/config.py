"""quant_config: AutoAWQ's keys, checked before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .arguments import closest

_LAYOUTS = ("gemm", "gemv", "gemv_fast")


class UnknownKeyError(UsageError, TypeError):
    """quant_config has a key that AutoAWQ does not know."""


class NotFourBitsError(UsageError, NotImplementedError):
    """w_bit is not 4."""


@dataclasses.dataclass
class AwqConfig:
    """AutoAWQ's quant_config; `version` in any case."""

    quant_method: str = "awq"
    zero_point: bool = True
    q_group_size: int = 128
    w_bit: int = 4
    version: str = "gemm"
    modules_to_not_convert: list[str] | None = None

    @classmethod
    def from_dict(cls, quant_config: Mapping[str, Any] | AwqConfig | None = None) -> AwqConfig:
        if isinstance(quant_config, AwqConfig):
            quant_config = quant_config.to_dict()
        names = [field.name for field in dataclasses.fields(cls)]
        for key in quant_config or {}:
            if key not in names:
                raise UnknownKeyError(
                    f"quant_config: unknown key {key!r}{closest(key, names) or '.'} The keys are {', '.join(names)}"
                )
        config = cls(**(quant_config or {}))
        config.version = str(config.version).lower()
        config._check()
        return config

    def _check(self) -> None:
        if self.w_bit != 4:
            raise NotFourBitsError(f"w_bit = {self.w_bit}: only 4 bits are supported, which is what AWQ loaders read")
        if self.version not in _LAYOUTS:
            hint = (
                "; write gemm, which vLLM turns into Marlin's layout when it loads" if self.version == "marlin" else ""
            )
            raise UsageError(f"Unknown version {self.version!r}: choose {', '.join(_LAYOUTS)}{hint}")
        if self.quant_method != "awq":
            raise UsageError(f"quant_method {self.quant_method!r}: this writes 'awq'")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_transformers_dict(self) -> dict[str, Any]:
        """As in config.json's quantization_config."""
        return {
            "quant_method": self.quant_method,
            "zero_point": self.zero_point,
            "group_size": self.q_group_size,
            "bits": self.w_bit,
            "version": self.version,
            "modules_to_not_convert": self.modules_to_not_convert,
        }
