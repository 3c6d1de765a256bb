"""The calls of the system's libbpf.so.1 that eBPF programs of this package need, by ctypes.

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
from pte_magic.walkers import replaceable_mapping

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
        "bpf_map__set_max_entries": (number, [handle, ctypes.c_uint32]),
        "bpf_map__fd": (number, [handle]),
        "bpf_program__fd": (number, [handle]),
        "bpf_program__set_autoload": (number, [handle, ctypes.c_bool]),
        "bpf_raw_tracepoint_open": (number, [text, number]),
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

    def load(self, *programs: str) -> None:
        """Load the object into the kernel; the verifier's words about these programs go into the error.

        Raises:
            LibbpfError: The kernel refused it.

        """
        logs = [ctypes.create_string_buffer(_LOG_BYTES) for _ in programs]
        found = [self._lib.bpf_object__find_program_by_name(self._handle, name.encode()) for name in programs]
        for program, log in zip(found, logs, strict=True):
            self._lib.bpf_program__set_log_buf(program, log, _LOG_BYTES)
        with _busy:
            failed = self._lib.bpf_object__load(self._handle)
        if failed:
            said = "\n".join(log.value.decode(errors="replace").strip() for log in logs)
            raise LibbpfError(-failed, "loading the eBPF program", said.strip())
        for program in found:
            self._lib.bpf_program__set_log_buf(program, None, 0)

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
        return self.memory(".bss", self._lib.bpf_map__value_size(self._map(".bss")))

    def memory(self, name: str, size: int) -> mmap.mmap:
        """Return the memory of a loaded map that can be mapped, shared with the program.

        Args:
            name: The map's name.
            size: Its bytes; whole pages are mapped.

        Raises:
            OSError: It cannot be mapped.

        """
        pages = -(-size // mmap.PAGESIZE)
        return replaceable_mapping.shared(self._lib.bpf_map__fd(self._map(name)), pages * mmap.PAGESIZE)

    def set_elements(self, name: str, count: int) -> None:
        """Set the number of elements of a map, before `load`."""
        self._lib.bpf_map__set_max_entries(self._map(name), count)

    def leave_out(self, program: str) -> None:
        """Do not load a program, before `load`."""
        found = self._lib.bpf_object__find_program_by_name(self._handle, program.encode())
        self._lib.bpf_program__set_autoload(found, False)  # noqa: FBT003  (C has no names of arguments)

    def attach_to_tracepoint(self, program: str) -> int:
        """Run a loaded program at its tracepoint; return the descriptor that keeps it there.

        Raises:
            LibbpfError: The kernel refused it.

        """
        fd: int = self._lib.bpf_raw_tracepoint_open(None, self.program(program))
        if fd < 0:
            raise LibbpfError(-fd, f"attaching {program}")
        return fd

    def run(self, program: str) -> int:
        """Run a loaded program of type syscall in this thread; return what it returned.

        Raises:
            LibbpfError: The kernel did not run it.

        """
        options = TestRunOptions(size=ctypes.sizeof(TestRunOptions))
        failed = self._lib.bpf_prog_test_run_opts(self.program(program), ctypes.byref(options))
        if failed:
            raise LibbpfError(-failed, f"running {program}")
        return int(options.retval)

    def _map(self, name: str) -> int:
        found: int | None = self._lib.bpf_object__find_map_by_name(self._handle, name.encode())
        if not found:
            raise LibbpfError(ctypes.get_errno(), f"finding map {name}")
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
