"""The SystemTap walker: raw entries, read under the kernel's own locks by the module ``stap/pte_magic_walker.stp``.

Needs SystemTap and the kernel's headers (then it is compiled once per kernel), or the module that the administrator
installed; and root, or the groups of SystemTap. The module is loaded on first use, and unloaded by `close`, at exit, or
when this process dies. It shows page frames and swap locations only to users to whom /proc/PID/pagemap shows them.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import struct
import warnings
from errno import EIO, ENOTTY
from typing import TYPE_CHECKING

from pte_magic.errors import SystemTapError, WalkerUnavailableError
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.interrupts import Interrupts
from pte_magic.systemtap import installation, module_cache, toolchain
from pte_magic.systemtap.hints import hints
from pte_magic.systemtap.run import Run
from pte_magic.systemtap.script import Script
from pte_magic.walkers import replaceable_mapping
from pte_magic.walkers.shared_memory import MEMORY_BYTES, SharedMemoryWalker, not_pagemap
from pte_magic.walkers.what_to_type import command, frames_by_helper, walk_with

if TYPE_CHECKING:
    from pathlib import Path

    from pte_magic.linux.address_space import AddressSpace

NAME = "stap"
MODULE = "pte_magic_walker"

# stap/tapset/pte_walk.stp
_ABI = 2
_IOCTL = 0xB6 << 8 | _ABI
_OK, _BAD_DESCRIPTOR, _NOT_PAGEMAP, _NO_MM, _EXITED = range(5)
_TOLD, _TOLD_AT = struct.Struct("=Q"), 40  # encryption_mask
_HIDDEN_AT = 48
_REFUSED = (
    "this kernel takes signed modules only, and refuses {}, which has no signature, or one of a key that the kernel "
    "does not know; type `{}`, which says how to enroll the key"
)
_TRIES = 5  # to ask, while somebody unloads the module


def script() -> Script:
    """Return the walker's script."""
    text = (toolchain.SCRIPTS / "pte_magic_walker.stp").read_text(encoding="utf-8")
    return Script(text, MODULE, options=("-g",))


def installed() -> Path | None:
    """Return the module that the administrator installed for the group stapusr, if there is one."""
    module = installation.place(MODULE)
    return module if module.exists() else None


def why_not() -> str | None:
    """Return why the walker cannot work here, and what to type; None without a known reason."""
    ready = installed() is not None
    why = toolchain.cannot_load(installed=ready)
    if why is None:
        return None if is_ready() else toolchain.cannot_compile()
    if not ready and toolchain.loads_nothing() is None:
        # The user is in too few groups. Members of stapdev may load any module, so that is not what to type.
        rest = toolchain.cannot_load(installed=True)
        why = f"its module is not installed; type `{command('install-module')}`" + (f"; {rest}" if rest else "")
    return why


def is_ready() -> bool:
    """Tell whether the module is compiled or installed already."""
    return installed() is not None or module_cache.kept(script()) is not None


class StapWalker(SharedMemoryWalker):
    """Walks any address space whose pagemap is open, by a kernel module that SystemTap compiled."""

    name = NAME
    sees = "raw entries of all levels, every bit, read under the kernel's locks"
    by = "SystemTap"
    frames_as_pagemap = True

    def __init__(self) -> None:
        """Load the module, compiled first if it was not before for this kernel.

        Raises:
            WalkerUnavailableError: It cannot work here; says why and what to type.

        """
        super().__init__()
        self._settled = False
        self._fd = -1
        self._loaded: Run | None = None
        if why := why_not():
            raise WalkerUnavailableError(NAME, why)
        self._load()
        atexit.register(self.close)

    @classmethod
    def to_prepare(cls) -> str:
        """Return what to type if nothing speaks against it but that its module was not compiled yet."""
        if why_not() is not None or is_ready():
            return ""
        todo = f"not compiled yet, which takes some seconds, once per kernel; type `{walk_with(NAME)}`"
        return todo + (f"; {toolchain.SIGNED}, and that says how" if toolchain.signed_only() else "")

    @classmethod
    def why_no_frames(cls) -> str:
        """Return what to type to see page frames."""
        return frames_by_helper()

    def _load(self) -> None:
        """Load the module. An interrupt ends this, and leaves nothing behind."""
        with Interrupts() as interrupts:
            try:
                self._begin(interrupts)
            except (OSError, SystemTapError) as error:
                self._unload()
                if not interrupts.count:
                    raise WalkerUnavailableError(NAME, _in_words(str(error))) from error
            except BaseException:
                self._unload()
                raise
            if interrupts.count:
                self._unload()
        if interrupts.count:
            raise KeyboardInterrupt

    def _begin(self, interrupts: Interrupts) -> None:
        ready = installed()
        module = ready or module_cache.compiled(script())
        # The default buffers for output, 16 MB a processor, would be for one line.
        self._loaded = run = Run(module, options=("-b", "1"))
        interrupts.call(run.ask_to_stop)
        file = run.first_line()
        if not file:
            status = run.stop()
            said = "".join(run.complaints).strip() or f"staprun ended with status {status}"
            if "File exists" in said and toolchain.signed_only():
                said = "another process uses it; a signed module keeps its name, so only one can be loaded at a time"
            if ready and "Key was rejected" in said:
                raise WalkerUnavailableError(NAME, _REFUSED.format(module, command("install-module")))
            message = f"its module was not loaded: {said}"
            raise SystemTapError(message)
        self._fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        if not _answers(self._fd):
            message = f"{module} is of another version of pte-magic; type `{command('install-module')}`"
            raise SystemTapError(message)
        memory = replaceable_mapping.shared(self._fd, MEMORY_BYTES)
        self._use(memory)
        self.address_bits = AddressBits(*_TOLD.unpack_from(memory, _TOLD_AT))

    def settle(self) -> None:
        """Keep the loaded module, before this process gives up the privileges for loading it again.

        Nothing else needs privileges. The module's file stays open, and shows page frames depending on who opened it.
        No thread is left, which would keep the privileges.
        """
        self._settled = True
        if self._loaded:
            self._loaded.listen_no_more()

    def close(self) -> None:
        """Unload the module, when no walk is in progress. The walker cannot be used afterwards."""
        with self._lock:
            self.closed = True
            self._unload()
        atexit.unregister(self.close)  # not before: should an interrupt come first, there is another chance

    def _unload(self) -> None:
        """Unload the module; an interrupt makes it quicker, and is raised afterwards."""
        with Interrupts() as interrupts:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            if run := self._loaded:
                interrupts.call(run.ask_to_stop)
                run.stop()
                self._loaded = None
                if run.still_loaded:
                    warnings.warn(run.still_loaded, RuntimeWarning, stacklevel=2)
        if interrupts.count:
            raise KeyboardInterrupt

    def abandon(self) -> None:
        """Forget the module in a forked child: it is the parent's."""
        super().abandon()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._loaded:
            self._loaded.abandon()
            self._loaded = None

    def _run(self, space: AddressSpace) -> None:
        status = self._ask()
        if status in (_NO_MM, _EXITED):
            raise space.gone()
        if status != _OK:
            raise not_pagemap(space)
        if (hidden := self._memory[_HIDDEN_AT] != 0) != self.address_bits.frames_hidden:
            self.address_bits = self.address_bits._replace(frames_hidden=hidden)

    def _ask(self) -> int:
        """Send a request, and load the module again if it was unloaded from outside."""
        for _ in range(_TRIES):
            try:
                return fcntl.ioctl(self._fd, _IOCTL)
            except OSError as error:
                if error.errno not in (ENOTTY, EIO):
                    raise
            except ValueError:  # -1: loading it again failed before
                pass
            self._check()
            if self._settled:
                raise WalkerUnavailableError(NAME, "its module was unloaded from outside; start this program again")
            asked = self._memory[:_TOLD_AT]
            self._unload()
            self._load()
            self._memory[:_TOLD_AT] = asked
        raise WalkerUnavailableError(NAME, "its module is unloaded from outside again and again")


def _in_words(message: str) -> str:
    found = hints(message)
    if "mokutil" in message:
        message = "its module cannot be signed"
    elif not found and toolchain.signed_only():
        found = [f"({toolchain.SIGNED})"]
    return " ".join([" | ".join(message.split("\n")), *found])


def _answers(fd: int) -> bool:
    """Tell whether a module's file is of this version of pte-magic: it answers an empty request."""
    try:
        return os.fstat(fd).st_size == MEMORY_BYTES and fcntl.ioctl(fd, _IOCTL) >= 0
    except OSError as error:
        if error.errno == ENOTTY:
            return False
        raise
