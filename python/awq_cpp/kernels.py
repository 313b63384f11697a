"""4-bit linears on arrays: `pack` a linear once, then call `linear`, `gemm` or `gemv` as often as you like.

Arrays in host memory are numpy's or torch's and run on the CPU. Arrays on a GPU are torch's, or any that speak DLPack;
torch's current stream is used for its tensors. Nothing is imported that the caller has not passed. `to_device` and
`to_host` are for those who have no array library for GPUs.
"""

from ._core import PackedLinear, gemm, gemv, linear, pack, to_device, to_host

__all__ = ["PackedLinear", "gemm", "gemv", "linear", "pack", "to_device", "to_host"]
