"""Data sets and models of the Hugging Face cache, without a download: what is not there is named with the command that
gets it.

Parquet files need pyarrow or pandas, which are imported where they are needed.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import re
from collections.abc import Iterator

from ._core import read_documents, resolve_model
from .errors import BadInputError

__all__ = ["dataset_folder", "hub_cache", "load_texts", "resolve_model"]

# Short names that quantizers know: (repository, variant, the only split there is).
KNOWN_DATASETS: dict[str, tuple[str, str | None, str | None]] = {
    "pileval": ("mit-han-lab/pile-val-backup", None, "validation"),
    "wikitext2": ("Salesforce/wikitext", "wikitext-2-raw-v1", None),
}
# How files are named after their split.
SPLIT_WORDS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
TEXT_FILES = (".txt", ".json", ".jsonl", ".jsonl.gz", ".jsonl.zst")


def hub_cache() -> pathlib.Path:
    """The folder of the Hugging Face cache, by the variables that its own library reads."""
    for name, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        if os.environ.get(name):
            return pathlib.Path(os.environ[name]).expanduser() / below
    return pathlib.Path.home() / ".cache/huggingface/hub"


def _not_cached(name: str, revision: str, why: str) -> BadInputError:
    option = "" if revision == "main" else f" --revision {revision}"
    return BadInputError(
        f"data set {name} {why} in the Hugging Face cache {hub_cache()}; "
        f"download it with: hf download --repo-type dataset {name}{option}"
    )


def dataset_folder(name: str, revision: str = "main") -> pathlib.Path:
    """The snapshot of a data set in the local cache; BadInputError with the download command where there is none."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) or ".." in name:
        raise BadInputError(f"{name!r} is not a data set of Hugging Face (org/name), nor a file or folder here")
    folder = hub_cache() / ("datasets--" + name.replace("/", "--"))
    if not folder.is_dir():
        raise _not_cached(name, revision, "is not")
    ref = folder / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    snapshot = folder / "snapshots" / commit
    if not re.fullmatch(r"[0-9a-f]{40}", commit) or not snapshot.is_dir():
        raise _not_cached(name, revision, f"has no revision {revision}")
    return snapshot


def _words(path: pathlib.Path) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", path.as_posix().lower()))


def _files_of(folder: pathlib.Path, config: str | None, split: str) -> list[pathlib.Path]:
    """Data files of a split: those whose path names it, or all where no path names any."""
    files = sorted(
        f for f in folder.rglob("*") if f.name.endswith((".parquet", *TEXT_FILES)) and not f.name.startswith(".")
    )
    if config is not None:
        files = [f for f in files if config in f.relative_to(folder).parts[:-1]]
    every_word = {word for words in SPLIT_WORDS.values() for word in words}
    wanted = SPLIT_WORDS.get(split, (split,))
    of_split = [f for f in files if _words(f.relative_to(folder)).intersection(wanted)]
    named = [f for f in files if _words(f.relative_to(folder)) & every_word]
    return of_split if of_split or named else files


def _parquet_column(path: pathlib.Path, column: str) -> Iterator[str]:
    """Texts of one column, by whichever of the two libraries is installed."""
    try:
        table = importlib.import_module("pyarrow.parquet").ParquetFile(path)
        if column not in table.schema_arrow.names:
            raise BadInputError(f"{path} has no column {column!r}; it has {', '.join(table.schema_arrow.names)}")
        for batch in table.iter_batches(columns=[column]):
            yield from batch.column(0).to_pylist()
    except ModuleNotFoundError:
        try:
            yield from importlib.import_module("pandas").read_parquet(path, columns=[column])[column]
        except ModuleNotFoundError:
            raise BadInputError(
                f"{path} is a parquet file: pip install pyarrow (or 'awq-cpp[parquet]') to read it"
            ) from None


def load_texts(
    name: str,
    *,
    split: str = "train",
    text_column: str = "text",
    config: str | None = None,
    revision: str = "main",
    keep_empty: bool = False,
    max_bytes: int = 256 << 20,
) -> list[str]:
    """Texts of a data set in the local Hugging Face cache, in order; empty ones are left out, unless `keep_empty` asks
    for those of parquet files.

    `name` is org/name, or 'pileval' or 'wikitext2'. `config` is the folder of a variant, such as 'wikitext-2-raw-v1'.
    Nothing is downloaded: BadInputError names the command. At most `max_bytes` of text are read.
    """
    repository, variant, only_split = KNOWN_DATASETS.get(name, (name, None, None))
    config = config or variant
    split = only_split or split
    folder = dataset_folder(repository, revision)
    files = _files_of(folder, config, split)
    if not files:
        raise BadInputError(
            f"{folder} holds no parquet, jsonl or text file of split {split!r}" + (f" of {config!r}" if config else "")
        )
    texts: list[str] = []
    size = 0
    for path in files:
        documents = (
            _parquet_column(path, text_column) if path.suffix == ".parquet" else iter(read_documents(path, text_column))
        )
        for text in documents:
            if isinstance(text, str) and (keep_empty or text.strip()):
                texts.append(text)
                size += len(text)
            if size >= max_bytes:
                return texts
    return texts
