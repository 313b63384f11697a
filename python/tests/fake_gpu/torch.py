"""As much of torch as awq_cpp.kernels touches, with tensors in host memory, which is the imitation's device memory."""

import types

import numpy


class dtype:  # torch's name
    pass


float16, bfloat16 = dtype(), dtype()


class Tensor:
    __module__ = "torch"

    def __init__(self, array, device=-1):
        # The kernels want addresses that are multiples of 16, as torch's are.
        buffer = numpy.empty(array.nbytes + 64, numpy.uint8)
        start = -buffer.ctypes.data % 64
        self._array = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        self._array[...] = array
        self._device = device
        self.shape, self.dtype = tuple(array.shape), float16

    def data_ptr(self):
        return self._array.ctypes.data

    def get_device(self):
        return self._device

    def is_contiguous(self):
        return self._array.flags["C_CONTIGUOUS"]

    def new_empty(self, shape):
        return Tensor(numpy.zeros(shape, numpy.float16), self._device)

    def cuda(self):
        return Tensor(self._array, 0)

    def cpu(self):
        return Tensor(self._array)

    def numpy(self):
        return self._array


def from_numpy(array):
    return Tensor(array)


_C = types.SimpleNamespace(_cuda_getCurrentRawStream=lambda device: 0)
