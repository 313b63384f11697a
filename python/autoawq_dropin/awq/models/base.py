from awq_cpp.autoawq import BaseAWQForCausalLM

__all__ = ["BaseAWQForCausalLM"]
