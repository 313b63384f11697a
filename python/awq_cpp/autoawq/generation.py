"""generate() with the parameters of transformers that mean something here."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from .. import _core
from ..errors import UsageError
from .arguments import warn_ignored
from .tensors import maker_for, padded, rows_of

# transformers' defaults where neither the caller nor generation_config.json says anything.
_DEFAULTS = {
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "max_length": 20,
    "max_new_tokens": None,
}
_HONOURED = (*_DEFAULTS, "seed", "eos_token_id", "ignore_eos")


def _settings(folder: pathlib.Path, given: dict[str, Any]) -> dict[str, Any]:
    """The caller's word, else generation_config.json's, else the default."""
    path = folder / "generation_config.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    settings = {**_DEFAULTS, **{k: v for k, v in stored.items() if k in _DEFAULTS and v is not None}}
    if given.get("max_length") is not None and given.get("max_new_tokens") is None:
        settings["max_new_tokens"] = None
    settings.update({k: v for k, v in given.items() if v is not None})
    return settings


def _new_tokens(settings: dict[str, Any], prompt: int, max_seq_len: int | None) -> int:
    wanted = settings["max_new_tokens"]
    count = int(wanted if wanted is not None else max(1, settings["max_length"] - prompt))
    if max_seq_len is None:
        return count
    if prompt >= max_seq_len:
        raise UsageError(
            f"the prompt has {prompt} tokens, max_seq_len is {max_seq_len}: load the model with a larger one"
        )
    return min(count, max_seq_len - prompt)


def _end_tokens(model: _core.Model, settings: dict[str, Any]) -> set[int]:
    wanted = settings.get("eos_token_id")
    if settings.get("ignore_eos"):
        return set()
    return set(model.end_tokens) if wanted is None else {wanted} if isinstance(wanted, int) else set(wanted)


def _continuation(
    model: _core.Model, prompt: list[int], settings: dict[str, Any], count: int, ends: set[int], put: Any
) -> list[int]:
    """New ids of one row; `put` is told each as it comes."""
    sample = settings["do_sample"]
    generation = model.generate(
        prompt,
        max_new_tokens=count,
        temperature=float(settings["temperature"]) if sample else 0.0,
        top_k=int(settings["top_k"] or 0) if sample else 0,
        top_p=float(settings["top_p"]) if sample else 1.0,
        seed=int(settings.get("seed", 42)),
        stop_at_eos=ends == set(model.end_tokens),
    )
    ids: list[int] = []
    for _ in generation:
        _take(generation.token_ids_so_far, ids, ends, put)
        if ids and ids[-1] in ends:
            generation.stop()
            return ids
    _take(generation.token_ids, ids, ends, put)
    return ids


def _take(so_far: list[int], ids: list[int], ends: set[int], put: Any) -> None:
    for token in so_far[len(ids) :]:
        if ids and ids[-1] in ends:
            return
        ids.append(token)
        put([token])


def generate_rows(
    model: _core.Model, folder: pathlib.Path, max_seq_len: int | None, inputs: Any = None, **kwargs: Any
) -> Any:
    """Prompts with their continuations, padded at the end to one length."""
    input_ids = kwargs.pop("input_ids", None) if inputs is None else inputs
    if input_ids is None:
        raise UsageError("generate() needs token ids: generate(tokens, max_new_tokens=...)")
    attention_mask, streamer = kwargs.pop("attention_mask", None), kwargs.pop("streamer", None)
    pad, token_types = kwargs.pop("pad_token_id", None), kwargs.pop("token_type_ids", None)
    del token_types  # tokenizers return it; causal models have no use for it
    settings = _settings(folder, {name: kwargs.pop(name) for name in _HONOURED if name in kwargs})
    warn_ignored("generate", kwargs)
    rows, make = rows_of(input_ids, attention_mask), maker_for(input_ids)
    if streamer is not None and len(rows) > 1:
        raise UsageError("a streamer follows one prompt: generate() got several")
    ends = _end_tokens(model, settings)

    def put(ids: list[int]) -> None:
        if streamer is not None:
            streamer.put(_array(ids))

    results = []
    for row in rows:
        if streamer is not None:
            streamer.put(_array([row]))
        count = _new_tokens(settings, len(row), max_seq_len)
        results.append(row + _continuation(model, row, settings, count, ends, put))
    if streamer is not None:
        streamer.end()
    return make(padded(results, pad if pad is not None else min(ends, default=0)))


def _array(ids: Any) -> Any:
    import numpy  # streamers ask for .shape and .tolist()

    return numpy.asarray(ids)
