"""save_quantized(): files appear complete or not at all, and what else is in the folder stays."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import tempfile

from .. import _core
from ..errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
# Weights and what describes them: from an earlier save they would contradict the new ones.
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?|awq_salient\.safetensors|awq_report\.json")


def bytes_of(size: str | int) -> int:
    """'5GB' to 5,000,000,000; 'GiB' are powers of two."""
    match = re.fullmatch(r"\s*([\d.]+)\s*([KMGT]?I?)B?\s*", str(size).upper())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"shard_size {size!r}: give a size such as '5GB' or '2GiB'")
    return int(float(match[1]) * _UNITS[match[2]])


def _link_or_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Through a name of its own, so that a reader never sees half a file."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), partial)  # costs neither time nor room on the same file system
    except OSError:
        shutil.copyfile(source, partial)
    os.replace(partial, target)
    partial.unlink(missing_ok=True)  # it stays where both names were the same file already


def save_checkpoint(source: pathlib.Path, target: pathlib.Path, shard_size: str | int) -> None:
    """The checkpoint in `source` into `target`, weights in files of at most `shard_size`."""
    limit = bytes_of(shard_size)
    target.mkdir(parents=True, exist_ok=True)
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is where the model was loaded from: save it to another folder")
    weights = [f for f in source.iterdir() if f.name.startswith("model") and f.suffix == ".safetensors"]
    with tempfile.TemporaryDirectory(prefix=".awq-", dir=target) as scratch:
        files = {f.name: f for f in source.iterdir() if f.is_file()}
        if any(f.stat().st_size > limit for f in weights):
            files = {name: f for name, f in files.items() if not (f in weights or name.endswith(".index.json"))}
            for name in _core.write_shards(source, scratch, limit):
                files[name] = pathlib.Path(scratch) / name
        for stale in [f for f in target.iterdir() if _WEIGHTS.fullmatch(f.name) and f.name not in files]:
            stale.unlink()
        for name in sorted(
            files, key=lambda name: (name == "config.json", name)
        ):  # config.json last: it is what loaders look for
            _link_or_copy(files[name], target / name)
