"""calib_data in all its forms, as arguments of awq_cpp.quantize(): paths, texts or token ids."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from typing import Any

from .. import _core, integrations
from ..errors import BadInputError, UsageError
from .arguments import warn

_BUILTIN = "pileval"  # AutoAWQ's default, which it downloads


class NoCalibrationError(UsageError, IndexError):
    """calib_data is an empty list."""


class UnknownCalibrationError(UsageError, NotImplementedError):
    """calib_data is of a type that holds no text."""


def _is_tokens(item: Any) -> bool:
    if isinstance(item, (str, bytes, Mapping)) or not isinstance(item, Iterable):
        return False
    return all(isinstance(token, int) or hasattr(token, "__index__") for token in item)


def _token_list(item: Any) -> list[int]:
    return [int(token) for token in (item.tolist() if hasattr(item, "tolist") else item)]


def _of_list(items: list[Any], text_column: str) -> dict[str, Any]:
    if not items:
        raise NoCalibrationError(
            "calib_data is an empty list: give texts or token lists, or leave it out for a built-in sample"
        )
    if all(isinstance(item, str) for item in items):
        return {"texts": items}
    if all(isinstance(item, Mapping) for item in items):
        missing = [i for i, item in enumerate(items) if not isinstance(item.get(text_column), str)]
        if missing:
            raise BadInputError(
                f"calib_data[{missing[0]}] has no text under {text_column!r}: name the key with text_column="
            )
        return {"texts": [item[text_column] for item in items]}
    if all(_is_tokens(item) for item in items):
        return {"tokens": [_token_list(item) for item in items]}
    raise UnknownCalibrationError(
        "calib_data must be the name of a data set, a path, or a list of texts, of token lists or of records with a "
        f"text; this list holds {', '.join(sorted({type(item).__name__ for item in items}))}"
    )


def _of_name(name: str, split: str, text_column: str) -> dict[str, Any]:
    if os.path.exists(name):
        return {"calib": name, "text_column": text_column}
    try:
        texts = integrations.load_texts(name, split=split, text_column=text_column)
    except BadInputError as missing:
        if name != _BUILTIN:
            raise
        warn(f"calib_data={name!r} is replaced by the built-in sample: {missing}")
        return {"texts": [_core.builtin_text()]}
    random.Random(42).shuffle(texts)  # AutoAWQ's seed; the order within a data set is often by source
    return {"texts": texts}


def _encoded(arguments: dict[str, Any], tokenizer: Any, tokens_wanted: int) -> dict[str, Any]:
    """Texts to the ids of the tokenizer that was passed, as far as they are needed."""
    if "texts" not in arguments or not hasattr(tokenizer, "encode"):
        return arguments
    tokens: list[list[int]] = []
    for text in arguments["texts"]:
        tokens.append(_token_list(tokenizer.encode(text, add_special_tokens=False)))
        tokens_wanted -= len(tokens[-1])
        if tokens_wanted <= 0:
            break
    return {"tokens": tokens}


def calibration_arguments(
    calib_data: Any, tokenizer: Any, split: str, text_column: str, tokens_wanted: int
) -> dict[str, Any]:
    """What awq_cpp.quantize() is to be given for AutoAWQ's `calib_data`."""
    if isinstance(calib_data, (str, os.PathLike)):
        arguments = _of_name(os.fspath(calib_data), split, text_column)
    elif isinstance(calib_data, Iterable) and not isinstance(calib_data, (bytes, Mapping)):
        arguments = _of_list(list(calib_data), text_column)
    else:
        raise UnknownCalibrationError(
            "Either pass a string to a huggingface dataset or a list that is preprocessed with one sample of text per "
            f"element, or a list of token lists; this is a {type(calib_data).__name__}"
        )
    return _encoded(arguments, tokenizer, tokens_wanted)
