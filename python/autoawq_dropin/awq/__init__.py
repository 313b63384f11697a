"""AutoAWQ 0.2.9's module, on awq_cpp. `awq.__version__` is the version whose interface this is."""

from .models.auto import AutoAWQForCausalLM

__version__ = "0.2.9"
__all__ = ["AutoAWQForCausalLM", "__version__"]
