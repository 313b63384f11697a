import os
import threading

import awq_cpp
import numpy as np
import pytest
from awq_cpp import kernels
from linear_cases import codes, dense, in_layout


def packed_in(layout, q, z, s, group, **more):
    return kernels.pack(*in_layout(layout, q, z, s, group), layout=layout, group_size=group, **more)


@pytest.mark.parametrize("layout", ["plain", "gemm", "gemv"])
@pytest.mark.parametrize(("n", "k", "group"), [(64, 256, 128), (24, 192, 64), (40, 96, 32)])
def test_every_layout_holds_the_same_weights(layout, n, k, group):
    q, z, s = codes(n, k, group)
    packed = packed_in(layout, q, z, s, group)
    assert (packed.n, packed.k, packed.group_size, packed.device) == (n, k, group, "cpu")
    np.testing.assert_array_equal(packed.dequantize(), dense(q, z, s, group).astype(np.float32))


@pytest.mark.parametrize("call", [kernels.linear, kernels.gemm, kernels.gemv])
@pytest.mark.parametrize("m", [1, 3, 17, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_products(call, m, dtype):
    n, k, group = 48, 256, 64
    q, z, s = codes(n, k, group)
    w = dense(q, z, s, group)
    x = np.random.default_rng(m).standard_normal((m, k)).astype(dtype)
    y = call(x, packed_in("gemm", q, z, s, group))
    assert y.dtype == dtype and y.shape == (m, n)
    # The kernels round x to 16 bits a block of 128, and y to its type once.
    bound = 2.0**-15 * np.abs(x).max() * np.abs(w).sum(axis=1) + (
        2.0**-11 if dtype == np.float16 else 2.0**-22
    ) * np.abs(x @ w.T)
    assert (np.abs(y - x.astype(np.float64) @ w.T) <= bound + 1e-6).all()


def test_exact_where_nothing_rounds_and_every_weight_matters():
    q, _, s = codes(16, 128, 128)
    z = np.full((16, 1), 8, np.uint8)
    s[:] = 0.5
    x = np.where(np.arange(128) % 3, 1, -1).astype(np.float32)
    want = x @ dense(q, z, s, 128).T
    np.testing.assert_array_equal(kernels.linear(x, packed_in("plain", q, z, s, 128)), want)
    q[5, 77] ^= 1
    assert kernels.linear(x, packed_in("plain", q, z, s, 128))[5] != want[5]


def test_versions_choose_kernels():
    q, z, s = codes(16, 128, 128)
    packed = packed_in("plain", q, z, s, 128)
    assert packed.kernel_for(1).startswith("gemv_") and packed.kernel_for(512).startswith("gemm_")
    name = packed.kernel_for(512, "gemv")
    assert name.startswith("gemv_")
    x = np.ones((2, 128), np.float32)
    np.testing.assert_array_equal(kernels.linear(x, packed, name), kernels.gemv(x, packed))
    with pytest.raises(awq_cpp.UsageError):
        kernels.linear(x, packed, "marlin")


def test_shapes_follow_x():
    q, z, s = codes(16, 128, 128)
    packed = packed_in("plain", q, z, s, 128)
    x = np.random.default_rng(0).standard_normal((2, 3, 128)).astype(np.float32)
    y = kernels.linear(x, packed)
    assert y.shape == (2, 3, 16)
    np.testing.assert_array_equal(y.reshape(6, 16), kernels.linear(x.reshape(6, 128), packed))
    assert kernels.linear(x[0, 0], packed).shape == (16,)
    np.testing.assert_array_equal(kernels.linear(x.transpose(1, 0, 2), packed), y.transpose(1, 0, 2))  # not contiguous
    assert kernels.linear(x[:0], packed).shape == (0, 3, 16)


def test_out_receives_the_result():
    q, z, s = codes(16, 128, 128)
    packed = packed_in("plain", q, z, s, 128)
    x, out = np.ones((2, 128), np.float32), np.zeros((2, 16), np.float32)
    assert kernels.linear(x, packed, out=out) is out
    np.testing.assert_array_equal(out, kernels.linear(x, packed))
    for wrong in (np.zeros((2, 15), np.float32), np.zeros((2, 16), np.float16), np.zeros((16, 2), np.float32).T):
        with pytest.raises(awq_cpp.UsageError, match="out: must be"):
            kernels.linear(x, packed, out=wrong)


def test_bias_is_added():
    q, z, s = codes(16, 128, 128)
    bias = np.arange(16, dtype=np.float16)
    x = np.zeros((1, 128), np.float32)
    np.testing.assert_array_equal(kernels.linear(x, packed_in("plain", q, z, s, 128, bias=bias))[0], bias)


def test_group_of_a_whole_row():
    q, z, s = codes(16, 384, 384)
    np.testing.assert_array_equal(
        kernels.pack(q, z, s, "plain", group_size=-1).dequantize(), dense(q, z, s, 384).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (lambda q, z, s: kernels.pack(q, z, s, "tiles"), awq_cpp.UsageError, "choose plain, gemm, gemv, gemv_fast"),
        (lambda q, z, s: kernels.pack(q, z, s, "plain", group_size=100), awq_cpp.UsageError, "does not divide"),
        (lambda q, z, s: kernels.pack(q, z[:, :1], s, "plain"), awq_cpp.BadInputError, "qzeros"),
        (lambda q, z, s: kernels.pack(q + 9, z, s, "plain"), awq_cpp.BadInputError, "0 to 15"),
        (lambda q, z, s: kernels.pack(q.astype(np.float64), z, s, "plain"), TypeError, "float16"),
        (
            lambda q, z, s: kernels.linear(np.ones(100, np.float32), kernels.pack(q, z, s, "plain")),
            awq_cpp.UsageError,
            "256 input",
        ),
        (
            lambda q, z, s: kernels.linear(np.ones(256), kernels.pack(q, z, s, "plain")),
            TypeError,
            "float32, float16 or bfloat16",
        ),
        (lambda q, z, s: kernels.linear("text", kernels.pack(q, z, s, "plain")), TypeError, "numpy"),
    ],
)
def test_refusals(act, kind, words):
    with pytest.raises(kind, match=words):
        act(*codes(16, 256, 128))


def test_threads_and_forked_children_compute_the_same():
    q, z, s = codes(64, 256, 128)
    packed = packed_in("plain", q, z, s, 128)
    x = np.random.default_rng(0).standard_normal((9, 256)).astype(np.float32)
    want = kernels.linear(x, packed)
    same = []
    threads = [
        threading.Thread(target=lambda: same.append((kernels.linear(x, packed) == want).all())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 8
    child = os.fork()
    if child == 0:
        os._exit(0 if (kernels.linear(x, packed) == want).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_torch_tensors_stay_torch_tensors():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    q, z, s = codes(16, 128, 128)
    packed = kernels.pack(torch.from_numpy(q), torch.from_numpy(z), torch.from_numpy(s), "plain")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        x = torch.ones(2, 128, dtype=dtype)
        y = kernels.linear(x, packed)
        assert isinstance(y, torch.Tensor) and y.dtype == dtype
        want = torch.from_numpy(dense(q, z, s, 128)).sum(1).expand(2, 16)
        torch.testing.assert_close(y.double(), want, rtol=2**-7, atol=1e-2)
