from awq_cpp.autoawq import AwqConfig

__all__ = ["AwqConfig"]
