"""awq_cpp.kernels on a GPU, with torch and without: on a real one, and in ctest on the imitation of fake_gpu/ too."""

import ctypes
import importlib.util
import os
import statistics
import time

import awq_cpp
import numpy as np
import pytest
from awq_cpp import kernels
from c_interface import CLinear
from linear_cases import codes, dense, in_layout

IMITATION = "FAKE_GPU" in os.environ  # the folder with its driver


def reason_to_skip():
    if IMITATION:
        return ""
    try:
        kernels.to_device(np.zeros(8, np.float16))
    except awq_cpp.Error as error:
        return str(error)
    return ""


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip())]
HAS_TORCH = importlib.util.find_spec("torch") is not None and not IMITATION

needs_torch = pytest.mark.skipif(
    not HAS_TORCH,
    reason="the imitation of torch has no streams, graphs or arithmetic to compare with"
    if IMITATION
    else "compares with torch's tensors on the GPU, and torch is not installed here: pip install torch",
)
needs_hardware = pytest.mark.skipif(
    IMITATION, reason="the imitated driver launches no kernels, so no model runs on it and no launch takes time"
)
needs_imitation = pytest.mark.skipif(
    not IMITATION, reason="counts allocations in the imitated driver; a real one shares its memory with other programs"
)


class Arrays:
    """Without an array library for GPUs."""

    name = "dlpack"

    @staticmethod
    def put(array):
        return kernels.to_device(np.ascontiguousarray(array, np.float16))

    get = staticmethod(kernels.to_host)


class Tensors:
    name = "torch"

    @staticmethod
    def put(array):
        import torch

        return torch.from_numpy(np.ascontiguousarray(array, np.float16)).cuda()

    @staticmethod
    def get(tensor):
        return tensor.cpu().numpy()


LIBRARIES = [Arrays] + ([Tensors] if HAS_TORCH or IMITATION else [])


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def library(request):
    return request.param


def check(y, x, w):
    """Within what rounding a weight and the result to 16 bits, and float32 sums, may cost."""
    want, terms = x.astype(np.float64) @ w.T, np.abs(x.astype(np.float64)) @ np.abs(w).T
    assert (np.abs(y - want) <= 2.0**-10 * terms + 2.0**-10 * np.abs(want) + 1e-6).all()


@pytest.mark.parametrize("layout", ["plain", "gemm", "gemv"])
@pytest.mark.parametrize(("n", "k", "group"), [(64, 256, 128), (24, 192, 64), (40, 96, 32)])
def test_every_layout_holds_the_same_weights(layout, n, k, group):
    q, z, s = codes(n, k, group)
    packed = kernels.pack(*in_layout(layout, q, z, s, group), layout=layout, group_size=group, device="cuda")
    assert (packed.n, packed.k, packed.group_size, packed.device) == (n, k, group, "cuda:0")
    np.testing.assert_array_equal(kernels.to_host(packed.dequantize()), dense(q, z, s, group).astype(np.float16))


@pytest.mark.parametrize("call", [kernels.linear, kernels.gemm, kernels.gemv])
@pytest.mark.parametrize("m", [1, 3, 17, 64])
def test_products(library, call, m):
    q, z, s = codes(64, 256, 64)
    packed = kernels.pack(q, z, s, "plain", group_size=64, device="cuda:0")
    x = np.random.default_rng(m).standard_normal((m, 256)).astype(np.float16)
    check(library.get(call(library.put(x), packed)), x, dense(q, z, s, 64))


def test_bias_out_and_shapes(library):
    q, z, s = codes(64, 128, 128)
    bias = np.arange(64, dtype=np.float16)
    packed = kernels.pack(q, z, s, "plain", bias=bias, device="cuda")
    x = np.random.default_rng(0).standard_normal((2, 3, 128)).astype(np.float16)
    y = kernels.linear(library.put(x), packed)
    assert library.get(y).shape == (2, 3, 64)
    out = library.put(np.zeros((2, 3, 64)))
    assert kernels.linear(library.put(x), packed, out=out) is out
    np.testing.assert_array_equal(library.get(out), library.get(y))
    np.testing.assert_array_equal(library.get(kernels.linear(library.put(np.zeros((1, 128))), packed))[0], bias)
    assert library.get(kernels.linear(library.put(x[0, 0]), packed)).shape == (64,)
    assert library.get(kernels.linear(library.put(x[:0]), packed)).shape == (0, 3, 64)


def test_versions():
    q, z, s = codes(64, 128, 128)
    packed = kernels.pack(q, z, s, "plain", device="cuda")
    assert packed.kernel_for(1).startswith("gemv_") and packed.kernel_for(1, "gemm").startswith("gemm_")
    with pytest.raises(awq_cpp.UsageError, match="marlin"):
        kernels.linear(kernels.to_device(np.zeros((1, 128), np.float16)), packed, "marlin")


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (lambda: np.zeros((1, 128), np.float16), "on the GPU"),
        (lambda: kernels.to_device(np.zeros((1, 64), np.float16)), "128 input features"),
        (lambda: "text", "on the GPU"),
    ],
)
def test_refusals(x, words):
    packed = kernels.pack(*codes(64, 128, 128), "plain", device="cuda")
    with pytest.raises((TypeError, awq_cpp.UsageError), match=words):
        kernels.linear(x(), packed)


def test_refusals_of_pack():
    q, z, s = codes(64, 128, 128)
    with pytest.raises(awq_cpp.BadInputError, match="multiples of 8"):
        kernels.pack(*codes(12, 128, 128), "plain", device="cuda")
    with pytest.raises(awq_cpp.UsageError, match="another device"):
        kernels.pack(q, z, kernels.to_device(s), "plain")
    with pytest.raises(awq_cpp.DeviceError):
        kernels.pack(q, z, s, "plain", device="cuda:77")


def test_arrays_on_the_gpu_are_packed_there():
    q, z, s = codes(64, 256, 128)
    bits = [np.ascontiguousarray(a).view(np.uint8) for a in (q, z)]
    arrays = [a if a.dtype != np.uint8 else a for a in bits]
    if HAS_TORCH:
        import torch

        on_gpu = [torch.from_numpy(a).cuda() for a in (*arrays, s)]
        packed = kernels.pack(*on_gpu, "plain", bias=torch.ones(64, dtype=torch.float16, device="cuda"))
        assert packed.device == "cuda:0"
        x = torch.zeros(1, 256, dtype=torch.float16, device="cuda")
        assert (kernels.linear(x, packed) == 1).all()
        np.testing.assert_array_equal(kernels.to_host(packed.dequantize()), dense(q, z, s, 128).astype(np.float16))
        with pytest.raises(awq_cpp.UsageError, match="packed there"):
            kernels.pack(*on_gpu, "plain", device="cpu")
    else:
        pytest.skip("torch is not installed, and no other library here puts bytes on a GPU")


@needs_torch
def test_torch_tensors_of_bfloat16_on_a_stream_of_their_own():
    import torch

    q, z, s = codes(64, 256, 128)
    packed = kernels.pack(q, z, s, "plain", device="cuda")
    x = torch.randn(5, 256, device="cuda", dtype=torch.bfloat16)
    want = kernels.linear(x, packed)
    assert want.dtype == torch.bfloat16 and want.shape == (5, 64)
    reference = x.double().cpu().numpy() @ dense(q, z, s, 128).T
    terms = np.abs(x.double().cpu().numpy()) @ np.abs(dense(q, z, s, 128)).T
    assert (np.abs(want.double().cpu().numpy() - reference) <= 2.0**-7 * terms).all()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        inside = kernels.linear(x, packed)
    stream.synchronize()
    assert torch.equal(inside, want)
    assert torch.equal(kernels.linear(x, packed, stream=torch.cuda.current_stream()), want)
    with pytest.raises(TypeError, match=r"x\.contiguous"):
        kernels.linear(torch.zeros(256, 5, device="cuda", dtype=torch.float16).T, packed)
    with pytest.raises(TypeError, match="float16 or bfloat16"):
        kernels.linear(x.float(), packed)


@needs_torch
@pytest.mark.parametrize("version", ["auto", "gemm", "gemv"])
@pytest.mark.parametrize("m", [1, 7, 33, 300])
def test_bits_are_those_of_the_c_interface(version, m):
    import torch

    q, z, s = codes(512, 1024, 128)
    packed = kernels.pack(q, z, s, "plain", device="cuda")
    x = torch.randn(m, 1024, device="cuda", dtype=torch.float16)
    assert torch.equal(kernels.linear(x, packed, version), CLinear(torch, q, z, s, 128).forward(version, x))


@needs_torch
def test_a_call_can_be_captured_in_a_graph():
    import torch

    packed = kernels.pack(*codes(64, 256, 128), "plain", device="cuda")
    x, y = (
        torch.randn(4, 256, device="cuda", dtype=torch.float16),
        torch.empty(4, 64, device="cuda", dtype=torch.float16),
    )
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        kernels.linear(x, packed, out=y)  # makes the workspace of this stream
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        kernels.linear(x, packed, out=y)
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, kernels.linear(x, packed))


@needs_hardware
def test_a_model_runs_on_the_gpu_as_on_the_cpu(quantized):
    gpu, cpu = awq_cpp.Model(quantized, device="cuda"), awq_cpp.Model(quantized, device="cpu")
    assert (gpu.device, cpu.device) == ("cuda:0", "cpu")
    texts = [model.generate("Once upon a time", max_new_tokens=8).text for model in (gpu, cpu)]
    assert texts[0] == texts[1]
    text = awq_cpp.builtin_text()
    scores = [model.evaluate(text, window=128, max_windows=8).perplexity for model in (gpu, cpu)]
    assert abs(scores[0] - scores[1]) < 0.05


@needs_imitation
def test_all_memory_is_given_back():
    count = ctypes.CDLL(os.path.join(os.environ["FAKE_GPU"], "libcuda.so.1")).fake_allocations
    packed = kernels.pack(*codes(64, 256, 128), "plain", device="cuda")
    x = kernels.to_device(np.zeros((1, 256), np.float16))
    kernels.linear(x, packed)  # the workspace stays
    before = count()
    for _ in range(5):
        y = kernels.linear(x, packed)
    del y
    assert count() == before
    del packed, x
    assert count() == before - 4


def host_microseconds(call, count=400):
    """Median over batches of what a call takes the host, without waiting for the GPU within a batch."""
    batches = []
    for _ in range(15):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        batches.append((time.perf_counter() - begin) / count * 1e6)
        kernels.to_host(kernels.to_device(np.zeros(8, np.float16)))  # waits
    return statistics.median(batches)


@needs_hardware
@needs_torch
def test_a_call_adds_less_than_5_us_to_the_c_interface(capsys):
    import torch

    q, z, s = codes(512, 512, 128)
    packed = kernels.pack(q, z, s, "plain", device="cuda")
    x = Tensors.put(np.zeros((1, 512)))
    y = kernels.linear(x, packed)
    interface = CLinear(torch, q, z, s, 128)
    nothing = ctypes.CDLL(None).abs  # on the same arguments: what ctypes takes is not awq_cuda_forward's
    through_ctypes, ctypes_alone = (
        host_microseconds(interface.prepared("auto", x, y, function)) for function in (None, nothing)
    )
    through_c = through_ctypes - ctypes_alone
    through_python = host_microseconds(lambda: kernels.linear(x, packed, out=y))
    allocating = host_microseconds(lambda: kernels.linear(x, packed))
    new_tensor = host_microseconds(lambda: x.new_empty((1, 512)))
    with capsys.disabled():
        print(
            f"\nhost time: awq_cuda_forward {through_c:.2f} us (and {ctypes_alone:.2f} of ctypes), linear with out= "
            f"{through_python:.2f}, linear {allocating:.2f} of which a new tensor of torch {new_tensor:.2f}"
        )
    assert through_python - through_c < 5
    assert allocating - new_tensor - through_c < 5
