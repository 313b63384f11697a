"""Random quantized linears for tests of kernels, and what their layouts hold, written from the format's description."""

import numpy as np

ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # of the nibbles of a word in the layout gemm


def codes(n, k, group, seed=0):
    random = np.random.default_rng(seed)
    q = random.integers(0, 16, (n, k), dtype=np.uint8)
    z = random.integers(0, 16, (n, k // group), dtype=np.uint8)
    s = (0.01 * random.integers(1, 8, (n, k // group))).astype(np.float16)
    return q, z, s


def dense(q, z, s, group):
    """W in float64."""
    zeros, scales = np.repeat(z, group, axis=1), np.repeat(s.astype(np.float64), group, axis=1)
    return (q.astype(np.float64) - zeros) * scales


def words(nibbles, order):
    """(..., 8 c) codes to (..., c) int32, the nibble i of a word from column order[i]."""
    eights = nibbles.astype(np.uint32).reshape(*nibbles.shape[:-1], -1, 8)
    return sum(eights[..., column] << np.uint32(4 * i) for i, column in enumerate(order)).view(np.int32)


def in_layout(layout, q, z, s, group):
    """qweight, qzeros, scales."""
    if layout == "plain":
        return q, z, s
    if layout == "gemm":
        return words(q.T.copy(), ORDER), words(z.T.copy(), ORDER), s.T.copy()
    step = {128: 1, 64: 2, 32: 4}[group]  # gemv pads its groups to so many words
    pad = ((0, 0), (0, -z.shape[1] % (8 * step)))
    return words(q, range(8)), words(np.pad(z, pad), range(8)), np.pad(s, pad)
