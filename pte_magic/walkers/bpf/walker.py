"""The eBPF walker: raw entries, straight from the page tables, on any kernel with BTF.

Needs root, or CAP_BPF and CAP_PERFMON. The program is ``walk.bpf.c``, compiled when the package was built.
"""

from __future__ import annotations

import ctypes
import os
import struct
from errno import EPERM
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pte_magic.errors import NoProcError, PteMagicError, UnstableError, WalkerUnavailableError
from pte_magic.linux import descriptors, hardware, kernel_text, memory_encryption
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.address_space import own
from pte_magic.walkers import what_to_type
from pte_magic.walkers.bpf import constants, direct_map, libbpf
from pte_magic.walkers.shared_memory import SharedMemoryWalker, not_pagemap

if TYPE_CHECKING:
    from pte_magic.linux.address_space import AddressSpace

NAME = "bpf"
OBJECT = Path(__file__).with_name("walk.bpf.o")
BTF = Path("/sys/kernel/btf/vmlinux")
LOCKDOWN = Path("/sys/kernel/security/lockdown")

# enum status and enum flags of walk.bpf.c
_OK, _BAD_DESCRIPTOR, _NOT_PAGEMAP, _NO_MM, _EXITED, _UNSTABLE = range(6)
_ONCE_ONLY = 2

_ROUNDS = 3
_PRESENT = np.uint64(1)  # of all formats

# Of the variable `w` of walk.bpf.c, what is its own.
_REACHED, _REACHED_AT = struct.Struct("=Q"), 8  # start
_ONCE, _ONCE_AT = struct.Struct("=2Q"), 40  # f_op, direct_map
_TOLD, _TOLD_AT = struct.Struct("=4Q"), 56  # mm, pgd, current_mm, repeated


class BpfWalker(SharedMemoryWalker):
    """Walks any address space whose pagemap is open, by an eBPF program in the kernel."""

    name = NAME
    sees = "raw entries of all levels, every bit"
    by = "eBPF"

    def __init__(self) -> None:
        """Load the program and learn the kernel's layout from this process' own page tables.

        Raises:
            WalkerUnavailableError: It cannot work here; says why and what to type.

        """
        super().__init__()
        self._object = _load()
        self._options = libbpf.TestRunOptions(size=ctypes.sizeof(libbpf.TestRunOptions))
        self._options_at = ctypes.pointer(self._options)
        try:
            self._program = self._object.program("walk")
            self._test_run = libbpf.library().bpf_prog_test_run_opts
            self._use(self._object.globals())
            self._flags = _ONCE_ONLY  # a wrong guess would be tried thousands of times
            self._calibrate()
            self._flags = 0
        except BaseException:
            self.close()
            raise

    @property
    def direct_map_at(self) -> int:
        """The kernel address at which physical address 0 is mapped."""
        return int(_ONCE.unpack_from(self._memory, _ONCE_AT)[1])

    def close(self) -> None:
        """Unload the program, when no walk is in progress. The walker cannot be used afterwards."""
        with self._lock:
            self.closed = True  # the descriptor's number may soon be another file's
            self._object.close()

    def _run(self, space: AddressSpace) -> None:
        failed = self._test_run(self._program, self._options_at)
        if failed or self._options.retval != _OK:
            raise self._error(space, failed)

    def _error(self, space: AddressSpace, failed: int) -> PteMagicError:
        if failed == -EPERM:
            why = "this process may no longer run eBPF programs (CAP_BPF and CAP_PERFMON); walk before it gives them up"
            return WalkerUnavailableError(NAME, why)
        if failed:
            return WalkerUnavailableError(NAME, f"the kernel did not run its program: {os.strerror(-failed)}")
        status = self._options.retval
        if status == _UNSTABLE:
            return UnstableError(space.pid, _REACHED.unpack_from(self._memory, _REACHED_AT)[0])
        if status in (_NO_MM, _EXITED):
            return space.gone()
        return not_pagemap(space)

    def _calibrate(self) -> None:
        """Find the marks of a pagemap file, the base of the direct map, and the bit of memory encryption.

        Our own pagemap certainly is one. A base of the direct map is right if a walk of our own pages finds exactly
        those that we have touched.
        """
        space = own()
        _ONCE.pack_into(self._memory, _ONCE_AT, 0, 0)
        self._read(space, 0, 0, 0)
        f_op, _ = _ONCE.unpack_from(self._memory, _ONCE_AT)
        mm, pgd, current_mm, _ = _TOLD.unpack_from(self._memory, _TOLD_AT)
        if mm != current_mm:
            raise WalkerUnavailableError(
                NAME, "/proc/self/pagemap is not this process' own: is something mounted over /proc?"
            )
        try:
            bases = list(direct_map.bases(pgd))
        except OSError as error:
            why = f"{direct_map.ZONES} has the places of memory, and cannot be read: {error.strerror}"
            raise WalkerUnavailableError(NAME, why) from error
        with direct_map.Landmark() as landmark:
            # Each is tried once, as most are wrong; the right one may be missed while the kernel changes the page
            # tables, as it does when it clears the mark of an access, so all are tried again.
            for base in bases * _ROUNDS:
                _ONCE.pack_into(self._memory, _ONCE_AT, f_op, base % (1 << 64))
                if self._finds(space, landmark):
                    return
        why = f"the direct map of physical memory was not found (pgd at {pgd:#x}); please report this kernel"
        raise WalkerUnavailableError(NAME, why)

    def _finds(self, space: AddressSpace, landmark: direct_map.Landmark) -> bool:
        """Tell whether page tables, read with the current base, have entries for exactly the touched pages."""
        try:
            _, n, m = self._read(space, landmark.start, landmark.start, landmark.end)
        except UnstableError:  # what this base gives for a table cannot be read
            return False
        entry = self._entries[:n]
        if (n, m) != (direct_map.PAGES, 1) or ((entry != 0) != landmark.touched).any():
            return False
        present = entry[entry & _PRESENT != 0]
        self.address_bits = AddressBits(int(np.bitwise_or.reduce(present)) & memory_encryption.candidates())
        return True


def _load() -> libbpf.Object:
    """Load the object in the newest variant that the kernel takes."""
    if hardware.encoding() not in constants.TABLES:
        why = "page tables of a 32-bit kernel may lie in high memory, which no eBPF program can read; type"
        raise WalkerUnavailableError(NAME, f"{why} `{what_to_type.walk_with('stap')}`")
    try:
        libbpf.library()
    except OSError:
        why = "libbpf.so.1 is not installed; type `apt install libbpf1` (Fedora: `dnf install libbpf`)"
        raise WalkerUnavailableError(NAME, why) from None
    if not BTF.exists():
        why = f"this kernel has no type information ({BTF}); boot one with CONFIG_DEBUG_INFO_BTF=y"
        raise WalkerUnavailableError(NAME, why)
    if not OBJECT.exists():
        why = f"{OBJECT.name} was not compiled; type `pip install --force-reinstall pte-magic`"
        raise WalkerUnavailableError(NAME, why)
    # libbpf finds out what the kernel can by trying, once a process: what fails now it never tries again.
    if not descriptors.are_free():
        raise descriptors.none_free()
    # Read-side critical sections from a program: kfuncs since 6.2 (9bb00b2895cb "bpf: Add kfunc bpf_rcu_read_lock").
    loaded = _try(use_rcu=True)
    if isinstance(loaded, libbpf.LibbpfError) and loaded.errno != EPERM:
        loaded = _try(use_rcu=False)
    if isinstance(loaded, libbpf.LibbpfError):
        raise WalkerUnavailableError(NAME, _why(loaded)) from loaded
    return loaded


def _try(*, use_rcu: bool) -> libbpf.Object | libbpf.LibbpfError:
    try:
        opened = libbpf.Object(OBJECT)
    except libbpf.LibbpfError as error:
        return error
    try:
        opened.set_constants(constants.packed(use_rcu=use_rcu))
        opened.load("walk")
    except libbpf.LibbpfError as error:
        opened.close()
        return error
    return opened


def _why(error: libbpf.LibbpfError) -> str:
    if LOCKDOWN.exists() and "[confidentiality]" in kernel_text.text(LOCKDOWN):
        return "the kernel is locked down (confidentiality: no eBPF reads kernel memory); boot with lockdown=integrity"
    if not may_trace():
        why = "no permission to load eBPF programs (CAP_BPF and CAP_PERFMON)"
        if os.geteuid():
            return f"{why}; a helper may: type `{what_to_type.start_helper()}`"
        return f"{why}, as in a container; start it with both, or with the socket of the host's helper mounted"
    return f"the program was not loaded: {' | '.join([str(error.strerror), *error.log.splitlines()[-4:]])}"


def may_trace() -> bool:
    """Tell whether this process has both capabilities, or CAP_SYS_ADMIN, which includes them.

    With CAP_BPF alone the verifier complains about a helper, not about a permission.
    """
    try:
        status = kernel_text.fields(kernel_text.read("/proc/thread-self/status"))
    except OSError as error:
        raise NoProcError(os.getpid()) from error
    effective = int(status["CapEff"], 16)
    return bool(effective >> 21 & 1 or effective >> 38 & effective >> 39 & 1)  # include/uapi/linux/capability.h
