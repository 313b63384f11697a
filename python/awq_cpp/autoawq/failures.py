"""Our sentences under AutoAWQ's kinds of exception, so that a script's `except` still catches."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator

from ..errors import BadInputError, Error, NoRoomError, UsageError


class NotAFactoryError(UsageError, OSError):
    """AutoAWQForCausalLM was called, instead of one of its factories."""


class UnsupportedModelError(BadInputError, TypeError):
    """The architecture is not supported."""


class GroupSizeError(BadInputError, AssertionError):
    """A linear's width is not divisible by the group size."""


class NotFiniteError(BadInputError, AssertionError):
    """A weight of the model is NaN or infinite."""


class TooLittleTextError(BadInputError, RuntimeError):
    """The calibration text is shorter than one window."""


# What our sentence says -> the class whose bases hold AutoAWQ's type. AutoAWQ's own texts are in the comments.
_CLASSES: tuple[tuple[str, type[Error]], ...] = (
    (
        r"not divisible by the group size|^group size",
        GroupSizeError,
    ),  # "org_w_shape (...) must be a multiple of group_size"
    (r"values that are not finite|holds (nan|-?inf) in row", NotFiniteError),  # a bare assert
    (r"one window needs|holds no text", TooLittleTextError),  # "torch.cat(): expected a non-empty list of Tensors"
)


@contextlib.contextmanager
def as_autoawq_raises() -> Iterator[None]:
    try:
        yield
    except Error as error:
        if isinstance(error, NoRoomError) and tempfile.gettempdir() in str(error):
            raise NoRoomError(f"{error}; the environment variable TMPDIR names another folder for it") from None
        for pattern, kind in _CLASSES:
            if re.search(pattern, str(error)) and not isinstance(error, kind):
                raise kind(str(error)) from None
        raise
