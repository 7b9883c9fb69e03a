"""The CUDA driver API, as much of it as a neighbour on a GPU needs, by ctypes: no toolkit, no compiler, only the driver's own library.

Names and signatures: CUDA Driver API reference, sections Initialization, Context, Memory, Module, Execution, Event. The kernel is PTX,
which the driver compiles for whatever GPU there is.
"""

import ctypes
import os
from typing import Any

LIBRARY = "libcuda.so.1"
_MULTIPROCESSORS = 16
"""CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT"""
_THREADS = 128
_SPIN = b"""\
.version 6.0
.target sm_50
.address_size 64
.visible .entry spin(.param .u64 span_ns)
{
    .reg .pred %p<2>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [span_ns];
    mov.u64 %rd2, %globaltimer;
again:
    mov.u64 %rd3, %globaltimer;
    sub.u64 %rd4, %rd3, %rd2;
    setp.lt.u64 %p1, %rd4, %rd1;
    @%p1 bra again;
    ret;
}
"""


class CudaFailed(Exception):
    """A call of the driver failed; str() says which, and with what."""


class Gpu:
    """One device, its primary context and two events. Every method may be called from any one thread; `bind` makes it that thread."""

    def __init__(self, device: int, library: Any = None) -> None:
        """Raises CudaFailed; OSError where there is no driver."""
        # NVML counts devices in the order of the bus, and so must CUDA, which by itself puts the fastest first.
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        self._lib = library if library is not None else ctypes.CDLL(LIBRARY)
        self._call("cuInit", ctypes.c_uint(0))
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if not 0 <= device < count.value:
            raise CudaFailed(f"there is no GPU {device}: the driver has {count.value}")
        handle = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(handle), ctypes.c_int(device))
        found = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(found), ctypes.c_int(_MULTIPROCESSORS), handle)
        self.multiprocessors = found.value
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), handle)
        self.bind()
        self._begin, self._end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (self._begin, self._end):
            self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))

    def _call(self, name: str, *arguments: Any) -> None:
        code = int(getattr(self._lib, name)(*arguments))
        if code:
            text = ctypes.c_char_p()
            self._lib.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
            raise CudaFailed(f"{name}: {text.value.decode() if text.value else f'error {code}'}")

    def bind(self) -> None:
        """The calling thread is the one that uses the device from now on."""
        self._call("cuCtxSetCurrent", self._context)

    def load_spin(self) -> None:
        """Compiles the kernel. Raises CudaFailed."""
        module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(_SPIN))
        self._spin = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(self._spin), module, ctypes.c_char_p(b"spin"))

    def allocate(self, size: int) -> ctypes.c_uint64:
        """Device memory, which ends with the process."""
        at = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(at), ctypes.c_size_t(size))
        return at

    def free(self, at: ctypes.c_uint64) -> None:
        self._call("cuMemFree_v2", at)

    def allocate_pinned(self, size: int) -> ctypes.c_void_p:
        """Host memory that the device reaches by itself."""
        at = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(at), ctypes.c_size_t(size), ctypes.c_uint(0))
        return at

    def spin(self, span_ns: int) -> None:
        """Keeps every multiprocessor busy for that long; does not wait."""
        argument = ctypes.c_uint64(span_ns)
        pointers = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(argument), ctypes.c_void_p))
        sizes = [ctypes.c_uint(n) for n in (self.multiprocessors, 1, 1, _THREADS, 1, 1, 0)]
        self._call("cuLaunchKernel", self._spin, *sizes, None, pointers, None)

    def copy_within(self, to: ctypes.c_uint64, source: ctypes.c_uint64, size: int) -> None:
        self._call("cuMemcpyDtoDAsync_v2", to, source, ctypes.c_size_t(size), None)

    def copy_in(self, to: ctypes.c_uint64, source: ctypes.c_void_p, size: int) -> None:
        self._call("cuMemcpyHtoDAsync_v2", to, source, ctypes.c_size_t(size), None)

    def copy_out(self, to: ctypes.c_void_p, source: ctypes.c_uint64, size: int) -> None:
        self._call("cuMemcpyDtoHAsync_v2", to, source, ctypes.c_size_t(size), None)

    def begin(self) -> None:
        """Marks where `took_ns` begins."""
        self._call("cuEventRecord", self._begin, None)

    def took_ns(self) -> int:
        """Waits for all that was asked since `begin`; returns how long the device was at it."""
        self._call("cuEventRecord", self._end, None)
        self._call("cuEventSynchronize", self._end)
        took_ms = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(took_ms), self._begin, self._end)
        return round(took_ms.value * 1e6)
