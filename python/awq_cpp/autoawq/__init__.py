"""AutoAWQ's classes on this library: the same names, parameters and kinds of exception as AutoAWQ 0.2.9.

    from awq_cpp.autoawq import AutoAWQForCausalLM

is the same class that the extra distribution `awq-cpp-autoawq` offers as `from awq import AutoAWQForCausalLM`.
"""

from .arguments import IgnoredArgument
from .config import AwqConfig
from .evaluation import evaluate_perplexity
from .factory import AutoAWQForCausalLM
from .failures import GroupSizeError, NotAFactoryError, NotFiniteError, TooLittleTextError, UnsupportedModelError
from .model import AwqQuantizer, BaseAWQForCausalLM

__all__ = [
    "AutoAWQForCausalLM",
    "AwqConfig",
    "AwqQuantizer",
    "BaseAWQForCausalLM",
    "GroupSizeError",
    "IgnoredArgument",
    "NotAFactoryError",
    "NotFiniteError",
    "TooLittleTextError",
    "UnsupportedModelError",
    "evaluate_perplexity",
]
