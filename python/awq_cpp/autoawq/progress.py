"""A bar over the blocks of the model, as AutoAWQ shows one: by tqdm, where that is installed."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator

from .._core import QuantizeProgress

OnProgress = Callable[[QuantizeProgress], object]


def _is_unwanted() -> bool:
    return os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")


@contextlib.contextmanager
def progress_bar(given: OnProgress | None) -> Iterator[OnProgress | None]:
    """The caller's own function, else a bar, else nothing."""
    try:
        tqdm = None if given or _is_unwanted() else importlib.import_module("tqdm").tqdm
    except ModuleNotFoundError:
        tqdm = None
    if tqdm is None:
        yield given
        return
    with tqdm(desc="AWQ", unit="block") as bar:

        def show(progress: QuantizeProgress) -> None:
            bar.total = progress.blocks
            bar.n = progress.block
            bar.set_postfix_str(progress.stage)

        yield show
