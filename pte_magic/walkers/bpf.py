"""The eBPF walker: raw entries, straight from the tables, from any kernel with BTF.

Needs root, or CAP_BPF and CAP_PERFMON. The program is ``walk.bpf.c``, compiled when the package was built.
"""

from __future__ import annotations

import ctypes
import itertools
import platform
import re
import struct
from errno import EPERM
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic import hardware
from pte_magic.errors import UnstableError, WalkerUnavailableError
from pte_magic.space import own
from pte_magic.walkers import libbpf
from pte_magic.walkers.shared import SharedMemoryWalker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.space import AddressSpace

NAME = "bpf"
OBJECT = Path(__file__).with_name("walk.bpf.o")
BTF = Path("/sys/kernel/btf/vmlinux")
LOCKDOWN = Path("/sys/kernel/security/lockdown")

# enum status and enum flags of walk.bpf.c
_OK, _BAD_DESCRIPTOR, _NOT_PAGEMAP, _NO_MM, _EXITED, _UNSTABLE = range(6)
_ONCE_ONLY = 2

_GIB = 1 << 30
_ROUNDS = 3
_ADDRESS = 0x000F_FFFF_FFFF_F000  # bits of an entry that may belong to a physical address
_PRESENT, _PSE = 1, 1 << 7

# Of the variable `w` of walk.bpf.c, what is its own.
_REACHED, _REACHED_AT = struct.Struct("=Q"), 8  # start
_ONCE, _ONCE_AT = struct.Struct("=4Q"), 40  # f_op, direct_map, table_mask, levels
_TOLD, _TOLD_AT = struct.Struct("=4Q"), 72  # mm, pgd, current_mm, repeated


class BpfWalker(SharedMemoryWalker):
    """Walks any address space whose pagemap is open, by an eBPF program in the kernel."""

    name = NAME

    def __init__(self) -> None:
        """Load the program and learn the kernel's layout from this process' own page tables.

        Raises:
            WalkerUnavailableError: It cannot work here; says why and what to type.

        """
        super().__init__()
        self._object = _load()
        self._program = self._object.program("walk")
        self._test_run = libbpf.library().bpf_prog_test_run_opts
        self._use(self._object.globals())
        self._options = libbpf.TestRunOptions(size=ctypes.sizeof(libbpf.TestRunOptions))
        self._options_at = ctypes.pointer(self._options)
        try:
            self._flags = _ONCE_ONLY  # a wrong guess would be tried thousands of times
            self._calibrate()
            self._flags = 0
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unload the program, when no walk is under way. The walker is of no use afterwards."""
        with self._lock:
            self._program = -1  # the descriptor's number may soon be another file's
            self._object.close()

    def _run(self, space: AddressSpace) -> None:
        failed = self._test_run(self._program, self._options_at)
        if failed or self._options.retval != _OK:
            raise self._error(space, failed)

    def _error(self, space: AddressSpace, failed: int) -> Exception:
        if failed:
            return libbpf.LibbpfError(-failed, "running the eBPF program")
        status = self._options.retval
        if status == _UNSTABLE:
            return UnstableError(space.pid, _REACHED.unpack_from(self._memory, _REACHED_AT)[0])
        if status in (_NO_MM, _EXITED):
            return space.gone()
        return ValueError(f"descriptor {space.fd} is not an open /proc/PID/pagemap")

    def _calibrate(self) -> None:
        """Learn what a pagemap file looks like, where the direct map begins and where its addresses end.

        No symbol is needed for it (kernels without KALLSYMS_ALL do not name data): our own pagemap is surely one,
        and the kernel's half of every process' page tables maps the pgd itself, so a base of the direct map is right
        if the walk to the address of the pgd ends at the physical address that this base gives it.
        """
        space = own()
        levels = hardware.levels()
        self._mask = mask = ((1 << hardware.physical_bits()) - 1) & _ADDRESS
        _ONCE.pack_into(self._memory, _ONCE_AT, 0, 0, mask, levels)
        self._read(space, 0, 0, 0)
        f_op, *_ = _ONCE.unpack_from(self._memory, _ONCE_AT)
        mm, pgd, current_mm, _ = _TOLD.unpack_from(self._memory, _TOLD_AT)
        if mm != current_mm:
            raise WalkerUnavailableError(NAME, "/proc/self/pagemap is not this process' own: is /proc mounted over?")
        # Each is tried once, as most are wrong; the right one may be missed while the kernel changes its own tables,
        # as it does when a module is loaded, so all are tried again.
        for base in itertools.chain.from_iterable(_direct_map_bases(pgd, levels) for _ in range(_ROUNDS)):
            _ONCE.pack_into(self._memory, _ONCE_AT, f_op, base, mask, levels)
            if self._maps_to(space, pgd, (pgd - base) & mask):
                return
        raise WalkerUnavailableError(
            NAME, f"the direct map of physical memory was not found (pgd at {pgd:#x}); please report this kernel"
        )

    def _maps_to(self, space: AddressSpace, virtual: int, physical: int) -> bool:
        """Tell whether the kernel's address `virtual` is mapped to the page `physical`, under the base in use."""
        try:
            self._read(space, virtual, virtual, virtual + hardware.PAGE_SIZE)
        except UnstableError:  # what this base gives for a table cannot be read
            return False
        entry, size = int(self._entries[0]), int(self._spans["size"][0])
        # A bit above the physical address is memory encryption's, which the kernel's own tables always have.
        self.encryption_mask = entry & _ADDRESS & ~self._mask
        leaf = entry & _PRESENT and (size == hardware.PAGE_SIZE or entry & _PSE)
        return bool(leaf) and (entry ^ physical) & self._mask & -size == 0


def _direct_map_bases(pgd: int, levels: int) -> Iterator[int]:
    """Yield where the direct map may begin, likeliest first: the fixed address, then each GiB below the pgd.

    Documentation/arch/x86/x86_64/mm.rst; ``kernel_randomize_memory()`` moves it by whole GiB.
    """
    yield 0xFF11_0000_0000_0000 if levels == hardware.FIVE_LEVELS else 0xFFFF_8880_0000_0000
    first = pgd & -_GIB
    for gib in range(1 << (hardware.physical_bits() - 30)):
        yield first - gib * _GIB


def _load() -> libbpf.Object:
    """Load the object, with what the kernel has: newest first."""
    if platform.machine() != "x86_64":
        raise WalkerUnavailableError(NAME, f"it reads x86-64 page tables, and this machine is {platform.machine()}")
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
    # Read-side critical sections from a program: kfuncs since 6.2 (9bb00b2895cb "bpf: Add kfunc bpf_rcu_read_lock").
    loaded = _try(use_rcu=True)
    if isinstance(loaded, libbpf.LibbpfError) and loaded.errno != EPERM:
        loaded = _try(use_rcu=False)
    if isinstance(loaded, libbpf.LibbpfError):
        raise WalkerUnavailableError(NAME, _why(loaded)) from loaded
    return loaded


def _try(*, use_rcu: bool) -> libbpf.Object | libbpf.LibbpfError:
    opened = libbpf.Object(OBJECT)
    try:
        opened.set_constant(use_rcu)
        opened.load("walk")
    except libbpf.LibbpfError as error:
        opened.close()
        return error
    return opened


def _why(error: libbpf.LibbpfError) -> str:
    if LOCKDOWN.exists() and "[confidentiality]" in LOCKDOWN.read_text():
        return "the kernel is locked down (confidentiality: no eBPF reads kernel memory); boot with lockdown=integrity"
    if not _may_trace():
        return "no permission to load eBPF programs (CAP_BPF and CAP_PERFMON); start Python or JupyterLab as root"
    last = error.log.splitlines()[-4:]
    return f"the kernel refused the program: {error.strerror}: {' | '.join(last)}"


def _may_trace() -> bool:
    """Tell whether this process has both capabilities, or CAP_SYS_ADMIN, which stands for them.

    With CAP_BPF alone the verifier complains about a helper, not about a permission.
    """
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    effective = int(found[1], 16) if found else -1
    return bool(effective >> 21 & 1 or effective >> 38 & effective >> 39 & 1)  # include/uapi/linux/capability.h
