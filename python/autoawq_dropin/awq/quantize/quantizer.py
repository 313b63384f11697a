from awq_cpp.autoawq import AwqQuantizer

__all__ = ["AwqQuantizer"]
