"""awq.evaluation: perplexity as AutoAWQ measures it."""

from __future__ import annotations

from typing import Any

from .. import integrations
from .model import BaseAWQForCausalLM


def evaluate_perplexity(model: BaseAWQForCausalLM, tokenizer: Any = None) -> float:
    """Perplexity on the test split of wikitext-2-raw-v1, from the local Hugging Face cache, in windows of 2048 tokens.

    Texts are joined by empty lines. The model's own tokenizer encodes them; `tokenizer` is accepted for compatibility.
    """
    del tokenizer
    text = "\n\n".join(integrations.load_texts("wikitext2", split="test", keep_empty=True))
    return model.model.evaluate(text, window=2048, max_windows=0, max_chars=0).perplexity
