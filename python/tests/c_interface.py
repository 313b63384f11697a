"""include/awq/cuda.h through ctypes: what the results of awq_cpp.kernels on torch's tensors are compared with."""

import ctypes
import os
import pathlib

import awq_cpp

PLAIN, F16 = 0, 0


class Linear(ctypes.Structure):
    _fields_ = [
        ("n", ctypes.c_int64),
        ("k", ctypes.c_int64),
        ("group_size", ctypes.c_int32),
        ("qweight", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("zeros", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("salient_count", ctypes.c_int32),
        ("salient_index", ctypes.c_void_p),
        ("salient_delta", ctypes.c_void_p),
    ]


class Bytes(ctypes.Structure):
    _fields_ = [("qweight", ctypes.c_size_t), ("scales", ctypes.c_size_t), ("zeros", ctypes.c_size_t)]


class Source(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int if name == "layout" else ctypes.c_void_p)
        for name in ("layout", "qweight", "qzeros", "scales")
    ]


def library():
    beside = pathlib.Path(awq_cpp._core.__file__).parent / "libawq_cuda.so"
    lib = ctypes.CDLL(os.environ.get("AWQ_CUDA_PLUGIN") or str(beside))
    lib.awq_cuda_layout_bytes.restype = Bytes
    lib.awq_cuda_layout_bytes.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int32]
    return lib


class CLinear:
    """One linear in memory of torch."""

    def __init__(self, torch, q, z, s, group):
        self.torch, self.lib = torch, library()
        n, k = q.shape
        sizes = self.lib.awq_cuda_layout_bytes(n, k, group)
        self.arrays = [
            torch.empty(size, dtype=torch.uint8, device="cuda") for size in (sizes.qweight, sizes.scales, sizes.zeros)
        ]
        self.linear = Linear(n, k, group, *[a.data_ptr() for a in self.arrays], None, 0, None, None)
        stored = [torch.from_numpy(a).cuda() for a in (q, z, s)]
        source = Source(PLAIN, *[a.data_ptr() for a in stored])
        self.check(self.lib.awq_cuda_repack(ctypes.byref(source), ctypes.byref(self.linear), None, None))
        torch.cuda.synchronize()

    @staticmethod
    def check(status):
        assert status == 0, f"status {status}"

    def prepared(self, version, x, y, function=None):
        """A call of awq_cuda_forward, or of another function on its arguments, with everything but the call done."""
        size = ctypes.c_size_t()
        version, m = version.encode(), ctypes.c_int64(x.shape[0])
        linear = ctypes.byref(self.linear)
        self.check(self.lib.awq_cuda_workspace_bytes(version, linear, F16, m, ctypes.byref(size), None))
        workspace = self.torch.empty(max(1, size.value), dtype=self.torch.uint8, device="cuda")
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in (x, y, workspace)]
        stream = ctypes.c_void_p(self.torch.cuda.current_stream().cuda_stream)
        arguments = (version, linear, F16, m, *pointers, size, stream, None)
        function = function or self.lib.awq_cuda_forward

        def call(keep=workspace):
            return function(*arguments)

        return call

    def forward(self, version, x):
        y = self.torch.empty(x.shape[0], self.linear.n, dtype=x.dtype, device="cuda")
        self.check(self.prepared(version, x, y)())
        return y
