from awq_cpp.autoawq import evaluate_perplexity

__all__ = ["evaluate_perplexity"]
