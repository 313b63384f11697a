"""Token ids in and out of whatever holds them: lists, numpy arrays, torch tensors. Nothing is imported that was not
passed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rows = list[list[int]]


def rows_of(input_ids: Any, attention_mask: Any = None) -> Rows:
    """Token ids of each row (one row, or several), without what the mask leaves out: the padding."""
    if isinstance(input_ids, Mapping):  # what transformers tokenizers return
        attention_mask = input_ids.get("attention_mask") if attention_mask is None else attention_mask
        input_ids = input_ids["input_ids"]
    values = _as_lists(input_ids)
    rows: Rows = values if values and isinstance(values[0], list) else [values]
    if attention_mask is None:
        return rows
    mask = _as_lists(attention_mask)
    masks = mask if mask and isinstance(mask[0], list) else [mask]
    return [
        [token for token, kept in zip(row, keep, strict=True) if kept] for row, keep in zip(rows, masks, strict=True)
    ]


def _as_lists(array: Any) -> Any:
    return (
        array.tolist()
        if hasattr(array, "tolist")
        else [list(item) if isinstance(item, Sequence) else item for item in array]
    )


def _is_torch(value: Any) -> bool:
    return type(value).__module__.startswith("torch")


def maker_for(example: Any) -> Callable[[Any], Any]:
    """Makes what `example` is, a torch tensor on its device, an array of numpy, or a list, of lists or an array."""
    if isinstance(example, Mapping):
        example = example["input_ids"]
    if _is_torch(example):
        torch = importlib.import_module("torch")
        return lambda values: torch.as_tensor(values).to(example.device)
    if isinstance(example, (list, tuple)):
        return lambda values: values.tolist() if hasattr(values, "tolist") else values
    return importlib.import_module("numpy").asarray  # type: ignore[no-any-return]


def padded(rows: Rows, pad: int) -> Rows:
    """Rows of one length, filled at the end."""
    longest = max(len(row) for row in rows)
    return [row + [pad] * (longest - len(row)) for row in rows]
