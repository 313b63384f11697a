from awq_cpp.autoawq import AutoAWQForCausalLM

__all__ = ["AutoAWQForCausalLM"]
