"""The dozen calls of the system's libbpf.so.1 that the eBPF walker needs, by ctypes.

libbpf (>= 1.0) does the hard part: it relocates the compiled object against the running kernel's BTF (CO-RE).
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import weakref
from errno import EINVAL
from typing import TYPE_CHECKING

from pte_magic.linux.interrupts import Lock
from pte_magic.walkers import mapping

if TYPE_CHECKING:
    from pathlib import Path

_LOG_BYTES = 1 << 16


class LibbpfError(OSError):
    """A call of libbpf failed; ``errno`` says why and ``log`` has the verifier's messages, if any."""

    def __init__(self, code: int, call: str, log: str = "") -> None:
        super().__init__(code, f"{call}: {os.strerror(code)}")
        self.log = log


class TestRunOptions(ctypes.Structure):
    """``struct bpf_test_run_opts`` (bpf.h of libbpf)."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


@functools.cache
def library() -> ctypes.CDLL:
    """Return libbpf, its functions declared.

    Raises:
        OSError: The library is not installed.

    """
    lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures = {
        "libbpf_set_print": (handle, [handle]),
        "bpf_object__open_file": (handle, [text, handle]),
        "bpf_object__load": (number, [handle]),
        "bpf_object__close": (None, [handle]),
        "bpf_object__find_map_by_name": (handle, [handle, text]),
        "bpf_object__find_program_by_name": (handle, [handle, text]),
        "bpf_map__initial_value": (handle, [handle, ctypes.POINTER(ctypes.c_size_t)]),
        "bpf_map__value_size": (ctypes.c_uint32, [handle]),
        "bpf_map__fd": (number, [handle]),
        "bpf_program__fd": (number, [handle]),
        "bpf_program__set_log_buf": (number, [handle, text, ctypes.c_size_t]),
        "bpf_prog_test_run_opts": (number, [number, ctypes.POINTER(TestRunOptions)]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.libbpf_set_print(None)  # errors come back as codes and logs, not on stderr
    return lib


class Object:
    """A compiled eBPF object: opened, then loaded into the kernel, then closed; in a forked child at once."""

    def __init__(self, path: Path) -> None:
        """Open the object file.

        Raises:
            LibbpfError: libbpf cannot read it.

        """
        self._handle: int | None = None
        self._lib = library()
        with _busy:
            _objects.add(self)
            self._handle = self._lib.bpf_object__open_file(os.fsencode(path), None)
        if not self._handle:
            raise LibbpfError(ctypes.get_errno(), f"opening {path.name}")

    def load(self, program: str) -> None:
        """Load the object into the kernel; the verifier's words about `program` go into the error.

        Raises:
            LibbpfError: The kernel refused it.

        """
        log = ctypes.create_string_buffer(_LOG_BYTES)
        found = self._lib.bpf_object__find_program_by_name(self._handle, program.encode())
        self._lib.bpf_program__set_log_buf(found, log, _LOG_BYTES)
        with _busy:
            failed = self._lib.bpf_object__load(self._handle)
        if failed:
            raise LibbpfError(-failed, "loading the eBPF program", log.value.decode(errors="replace").strip())
        self._lib.bpf_program__set_log_buf(found, None, 0)

    def set_constants(self, values: bytes) -> None:
        """Set the object's .rodata, before `load`.

        Raises:
            LibbpfError: It has another size, so the object is of another version.

        """
        size = ctypes.c_size_t()
        address = self._lib.bpf_map__initial_value(self._map(".rodata"), ctypes.byref(size))
        if size.value != len(values):
            raise LibbpfError(EINVAL, f"setting {len(values)} bytes where the program has {size.value}")
        ctypes.memmove(address, values, len(values))

    def globals(self) -> mmap.mmap:
        """Return the memory of the loaded object's .bss, shared with the program.

        Raises:
            OSError: It cannot be mapped.

        """
        found = self._map(".bss")
        pages = -(-self._lib.bpf_map__value_size(found) // mmap.PAGESIZE)
        return mapping.shared(self._lib.bpf_map__fd(found), pages * mmap.PAGESIZE)

    def _map(self, section: str) -> int:
        found: int | None = self._lib.bpf_object__find_map_by_name(self._handle, section.encode())
        if not found:
            raise LibbpfError(ctypes.get_errno(), f"finding section {section}")
        return found

    def program(self, name: str) -> int:
        """Return the descriptor of a loaded program; it belongs to this object."""
        fd: int = self._lib.bpf_program__fd(self._lib.bpf_object__find_program_by_name(self._handle, name.encode()))
        if fd < 0:
            raise LibbpfError(-fd, f"finding program {name}")
        return fd

    def close(self) -> None:
        """Unload the object; a second call does nothing."""
        with _busy:
            self._close()

    def __del__(self) -> None:
        self.close()

    def _close(self) -> None:
        if self._handle:
            handle, self._handle = self._handle, None
            self._lib.bpf_object__close(handle)


_objects: weakref.WeakSet[Object] = weakref.WeakSet()
_busy = Lock()  # of who is within libbpf: a fork waits for that, or the child could not close what was being loaded


def _in_child() -> None:
    """Close the child's descriptors of loaded objects. The parent's descriptors keep them loaded."""
    for one in list(_objects):
        one._close()  # noqa: SLF001  (this function is a part of it)
    _busy.release()


os.register_at_fork(before=_busy.acquire, after_in_parent=_busy.release, after_in_child=_in_child)
