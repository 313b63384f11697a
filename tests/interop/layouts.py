"""The packed layouts in numpy, written from docs/formats.md alone: what a test compares the C++ with.

Every layout has two functions: pack(q, scales, zeros, group) -> tensors by suffix, and unpack(tensors, n, k, group) ->
(q, scales, zeros). q is (n, k), scales and zeros are (n, k / group); q and zeros are uint8, scales float16.
"""
import numpy as np

GEMM_ORDER = np.array([0, 2, 4, 6, 1, 3, 5, 7])
NATURAL = np.arange(8)


def words(codes, order):
    """(..., 8 w) codes -> (..., w) int32: nibble i of a word holds code order[i] of its eight."""
    eight = codes.astype(np.uint32).reshape(*codes.shape[:-1], -1, 8)[..., order]
    return (eight << (4 * np.arange(8, dtype=np.uint32))).sum(axis=-1, dtype=np.uint32).view(np.int32)


def codes(packed, order):
    """The way back."""
    nibbles = (packed.view(np.uint32)[..., None] >> (4 * np.arange(8, dtype=np.uint32))) & 15
    out = np.empty_like(nibbles)
    out[..., order] = nibbles
    return out.reshape(*packed.shape[:-1], -1).astype(np.uint8)


def padded_groups(groups, group):
    """AutoAWQ's zeros width, times 8."""
    step = {64: 2, 32: 4}.get(group, 1)
    return -(-groups // (8 * step)) * 8 * step


def pad_columns(a, columns):
    return np.pad(a, [(0, 0), (0, columns - a.shape[1])])


def pack_gemm(q, scales, zeros, group):
    return {"qweight": words(np.ascontiguousarray(q.T), GEMM_ORDER), "qzeros": words(np.ascontiguousarray(zeros.T), GEMM_ORDER),
            "scales": scales.T}


def unpack_gemm(t, n, k, group):
    return codes(t["qweight"], GEMM_ORDER).T, t["scales"].T, codes(t["qzeros"], GEMM_ORDER).T


def pack_gemv(q, scales, zeros, group):
    width = padded_groups(scales.shape[1], group)
    return {"qweight": words(q, NATURAL), "qzeros": words(pad_columns(zeros, width), NATURAL), "scales": pad_columns(scales, width)}


def unpack_gemv(t, n, k, group):
    groups = k // group
    return codes(t["qweight"], NATURAL), t["scales"][:, :groups], codes(t["qzeros"], NATURAL)[:, :groups]


def fast_places(n, k):
    """Row and column in q of nibble i of each int16: two arrays (n / 4, k, 4)."""
    block, column, i = np.meshgrid(np.arange(n // 4), np.arange(k), np.arange(4), indexing="ij")
    tile, p = column // 64, column % 64
    return 4 * block + p // 16, 64 * tile + 32 * (p // 8 % 2) + 8 * i + p % 8


def pack_gemv_fast(q, scales, zeros, group):
    nibbles = q[fast_places(*q.shape)].astype(np.uint16) << (4 * np.arange(4, dtype=np.uint16))
    width = padded_groups(scales.shape[1], group)
    offsets = -(scales.astype(np.float32) * zeros).astype(np.float16)
    return {"qweight": nibbles.sum(axis=-1, dtype=np.uint16).view(np.int16), "scales": pad_columns(scales, width).T,
            "qzeros": pad_columns(offsets, width).T}


def unpack_gemv_fast(t, n, k, group):
    groups = k // group
    q = np.empty((n, k), np.uint8)
    q[fast_places(n, k)] = (t["qweight"].view(np.uint16)[..., None] >> (4 * np.arange(4, dtype=np.uint16))) & 15
    scales = t["scales"].T[:, :groups]
    with np.errstate(divide="ignore", invalid="ignore"):
        zeros = np.nan_to_num(np.rint(-t["qzeros"].T[:, :groups].astype(np.float32) / scales.astype(np.float32)))
    return q, scales, zeros.astype(np.uint8)


def pack_compressed_tensors(q, scales, zeros, group):
    n, k = q.shape
    rows = -(-n // 8) * 8
    down = np.pad(zeros, [(0, rows - n), (0, 0)]).T  # (groups, rows): packed along the outputs
    return {"weight_packed": words(q, NATURAL), "weight_scale": scales, "weight_shape": np.array([n, k]),
            "weight_zero_point": words(np.ascontiguousarray(down), NATURAL).T}


def unpack_compressed_tensors(t, n, k, group):
    assert t["weight_shape"].tolist() == [n, k]
    down = codes(np.ascontiguousarray(t["weight_zero_point"].T), NATURAL)
    return codes(t["weight_packed"], NATURAL), t["weight_scale"], down.T[:n]


def pack_symmetric(q, scales, zeros, group):
    assert (zeros == 8).all()
    return {name: t for name, t in pack_compressed_tensors(q, scales, zeros, group).items() if name != "weight_zero_point"}


def unpack_symmetric(t, n, k, group):
    return codes(t["weight_packed"], NATURAL), t["weight_scale"], np.full((n, k // group), 8, np.uint8)


def pack_modelopt(q, scales, zeros, group):
    assert (zeros == 8).all()
    signed = (q.astype(np.int8) - 8).view(np.uint8) & 15
    return {"weight": signed[0::2] | signed[1::2] << 4, "weight_scale": scales.astype(np.float32)}


def unpack_modelopt(t, n, k, group):
    nibbles = np.stack([t["weight"] & 15, t["weight"] >> 4], axis=1).reshape(n, k)
    return nibbles ^ 8, t["weight_scale"].astype(np.float16), np.full((n, k // group), 8, np.uint8)


# By name: pack, unpack, suffix of the codes.
LAYOUTS = {"gemm": (pack_gemm, unpack_gemm, "qweight"),
           "gemv": (pack_gemv, unpack_gemv, "qweight"),
           "gemv_fast": (pack_gemv_fast, unpack_gemv_fast, "qweight"),
           "compressed-tensors": (pack_compressed_tensors, unpack_compressed_tensors, "weight_packed"),
           "compressed-tensors-sym": (pack_symmetric, unpack_symmetric, "weight_packed"),
           "modelopt": (pack_modelopt, unpack_modelopt, "weight")}
SYMMETRIC = {"compressed-tensors-sym", "modelopt"}
