"""Latency of one query with each kernel version, side by side: what `awq bench MODEL` prints."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Sequence

from . import _core
from .errors import DeviceError


@dataclasses.dataclass(frozen=True)
class Latency:
    """One query with one kernel version."""

    version: str
    kernels: str  # which kernels ran, one line
    refusal: str  # empty, or why this version does not run here
    first_token_seconds: list[float]  # one a run
    token_seconds: list[float]  # one for each further token of all runs

    def token_percentile(self, share: float) -> float:
        """Seconds a token that this share of the tokens took at most; 0 where nothing ran."""
        ordered = sorted(self.token_seconds)
        return ordered[int(share * (len(ordered) - 1) + 0.5)] if ordered else 0.0

    @property
    def tokens_per_second(self) -> float:
        median = self.token_percentile(0.5)
        return 1 / median if median else 0.0

    @property
    def first_token(self) -> float:
        """Median seconds until the first token."""
        return statistics.median(self.first_token_seconds) if self.first_token_seconds else 0.0


def _prompt(length: int, vocabulary: int) -> list[int]:
    """Tokens that any vocabulary has, spread over it: what they say does not matter for time."""
    return [(i * 7919 + 13) % vocabulary for i in range(length)]


def _measure(model: _core.Model, prompt: int, generate: int, repeat: int) -> tuple[list[float], list[float]]:
    first: list[float] = []
    further: list[float] = []
    ids = _prompt(prompt, model.vocab_size)
    for run in range(-1, repeat):
        timing = model.generate(ids, max_new_tokens=generate, stop_at_eos=False).timing
        if run >= 0:  # the run before the first warms up: page faults, clocks
            first.append(timing.first_token_seconds)
            further.extend(timing.token_seconds)
    return first, further


def bench(
    model: str | os.PathLike[str],
    *,
    versions: Sequence[str] = ("gemv", "gemm", "auto"),
    prompt: int = 128,
    generate: int = 64,
    repeat: int = 3,
    device: str = "auto",
    threads: int = 0,
) -> list[Latency]:
    """Times a single query with each kernel version: `prompt` tokens in, `generate` tokens out, `repeat` times.

    The model is loaded anew for each version. A version that the hardware cannot run has its reason in `refusal`.
    """
    results = []
    for version in versions:
        try:
            loaded = _core.Model(model, version=version, device=device, threads=threads)
            first, further = _measure(loaded, prompt, generate, repeat)
            results.append(Latency(version, loaded.kernels, "", first, further))
        except DeviceError as refusal:
            if version == "auto":
                raise
            results.append(Latency(version, "", str(refusal), [], []))
    return results
