"""The connection to the helper, and its greeting: any program may listen at that path and send anything.

A connection without a greeting in time is kept: systemd starts a helper when the first client connects, which takes a
while on a busy host. Later walks check, without waiting, whether it has greeted.
"""

from __future__ import annotations

import atexit
import fcntl
import grp
import os
import pwd
import select
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.errors import WalkerUnavailableError
from pte_magic.linux import hardware
from pte_magic.linux.address_bits import AddressBits
from pte_magic.text import screen
from pte_magic.walkers import helper_timeouts
from pte_magic.walkers.bpf import constants
from pte_magic.walkers.helper_protocol import FRAMES_HIDDEN, GREETING, MAGIC, MEMORY, VERSION, Status
from pte_magic.walkers.what_to_type import serve, start_helper

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "helper"
_PAUSE = 0.02  # seconds, until a connection may find room in the queue of those that are to be accepted
_RCVTIMEO_NEW = 66  # asm-generic/socket.h: a 32-bit userland's, where time has 64 bits
_TIMEVAL = struct.Struct("=qq" if socket.SO_RCVTIMEO == _RCVTIMEO_NEW else "@ll")


class Greeted(NamedTuple):
    """An accepted connection: the socket, and the memory of the answers; the owner closes both."""

    socket: socket.socket
    memory: int
    address_bits: AddressBits


class Call:
    """A connection whose helper has not greeted yet."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(0)
        self._connected = False

    def has_come(self, seconds: float = 0) -> bool:
        """Tell whether a greeting has come, after so many seconds at most.

        Raises:
            OSError: No program listens, or not for this user.

        """
        if not self._connected:
            try:
                self.socket.connect(self.path)
            except BlockingIOError:  # the queue is full, and nothing tells when it is not (unix_stream_connect())
                time.sleep(min(seconds, _PAUSE))
                return False
            self._connected = True
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def wait(self, seconds: float, ended: Callable[[], object]) -> bool:
        """Tell whether a greeting has come within so many seconds, or the wait was ended."""
        begun = time.monotonic()
        while not self.has_come(helper_timeouts.SLICE):
            if ended():
                return False
            if time.monotonic() - begun >= (least := min(seconds, helper_timeouts.limit())):
                _keep(self)
                why = f"the helper at {self.path} has not greeted for {least:g} s; type `{start_helper(self.path)}`"
                raise WalkerUnavailableError(NAME, why)
        return True

    def take(self) -> Greeted:
        """Take the greeting that has come.

        Raises:
            WalkerUnavailableError: It is not of a helper that this client can use.

        """
        said, fds, flags, _ = socket.recv_fds(self.socket, GREETING.size + 1, 1, socket.MSG_CMSG_CLOEXEC)
        try:
            bits = self._fields(said, len(fds) if not flags & socket.MSG_CTRUNC else 2)
            if why := _no_memory(fds[0]):
                raise wrong(self.path, why)
            self.socket.settimeout(None)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # in the kernel it costs no call more
                self.socket.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(0, int(helper_timeouts.SLICE * 1e6)))
            return Greeted(self.socket, fds.pop(), bits)
        finally:
            for fd in fds:
                os.close(fd)

    def _fields(self, said: bytes, n_descriptors: int) -> AddressBits:
        """Return the address bits of the entries to come, from a greeting with so many descriptors."""
        path = self.path
        if len(said) != GREETING.size or not said.startswith(MAGIC):
            why = f"what listens at {path} is not a helper of pte-magic" if said else f"the helper at {path} has ended"
            raise WalkerUnavailableError(NAME, f"{why}; type `{start_helper(path)}`")
        _, version, status, flags, size, mask = GREETING.unpack(said)
        if version != VERSION:
            why = f"the helper at {path} speaks version {version} of the protocol, this package {VERSION}"
            raise WalkerUnavailableError(NAME, f"{why}; install the same pte-magic for both")
        if status == Status.BUSY:
            why = f"the helper at {path} has the most clients that it may have; end some of your "
            why += screen.either("notebooks", "notebooks and commands")
            raise WalkerUnavailableError(
                NAME, f"{why}, or start it with larger `--max-clients` and `--max-clients-per-user`"
            )
        if status != Status.OK:
            raise WalkerUnavailableError(NAME, f"the helper at {path} failed (status {status}); see its journal")
        if size != MEMORY or n_descriptors != 1 or flags & ~FRAMES_HIDDEN:
            many = {0: "no descriptor", 1: "one descriptor"}.get(n_descriptors, "several descriptors")
            what = f"greeted with {many}, {size} bytes and flags {flags:#x}"
            raise wrong(path, what)
        if mask and (mask.bit_count() != 1 or not mask & _mask_bits()):
            what = f"greeted with encryption mask {mask:#x}, which is not a bit of an address"
            raise wrong(path, what)
        return AddressBits(mask, frames_hidden=bool(flags))

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def wrong(path: str, what: str) -> WalkerUnavailableError:
    """Return the error for a message that a helper of pte-magic never sends."""
    return WalkerUnavailableError(NAME, f"the helper at {path} {what}; type `{start_helper(path)}` for another")


def call(path: str, seconds: float, ended: Callable[[], object]) -> Greeted | None:
    """Connect to a helper, or go on waiting for it; return the accepted connection.

    Args:
        path: The path of its socket.
        seconds: The time to wait; `helper_timeouts.limit` may be shorter. Then the connection is kept.
        ended: Called at times; if it returns true, the wait ends, and None is returned.

    Raises:
        WalkerUnavailableError: There is no usable helper; says what to type.

    """
    found = _kept.pop(path, None)
    try:
        found = found or Call(path)
        if found.wait(seconds, ended):
            return found.take()
    except OSError as error:
        _drop(found)
        raise WalkerUnavailableError(NAME, _why(error, path)) from error
    except BaseException:
        if found not in _kept.values():
            _drop(found)
        raise
    _drop(found)
    return None


_kept: dict[str, Call] = {}


def is_awaited() -> bool:
    """Tell whether a helper did not greet in time, but may still do so."""
    return bool(_kept)


def has_come() -> bool:
    """Tell whether such a helper has greeted, or ended, meanwhile."""
    try:
        return any(one.has_come() for one in list(_kept.values()))
    except OSError:
        return True


def forget() -> None:
    """Close the connections that are kept."""
    while _kept:
        _kept.popitem()[1].close()


def _keep(one: Call) -> None:
    forget()  # those to other places, where nobody looks any more
    _kept[one.path] = one


def _drop(one: Call | None) -> None:
    if one:
        one.close()


def _mask_bits() -> int:
    """Return the bits of an entry that may be the bit of memory encryption: on x86-64 only."""
    name = hardware.encoding()
    return constants.TABLES[name].address if name == "x86_64" else 0


def _no_memory(fd: int) -> str:
    """Return why a descriptor is not memory for answers; empty if it is.

    It has to be a memfd, which the kernel reads without waiting; for another file, a program may answer late or never,
    also to fstat(2). Only memfds have seals (``memfd_fcntl()``, mm/memfd.c), and with this one it cannot get shorter.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError:  # EINVAL, or EBADF of O_PATH
        return "sent a descriptor that is not a memfd's"
    if (size := os.fstat(fd).st_size) != MEMORY:
        return f"sent memory of {size} bytes instead of {MEMORY}"
    if not seals & fcntl.F_SEAL_SHRINK:
        return "sent memory that may become shorter (F_SEAL_SHRINK is missing)"
    return "" if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY else "sent memory that cannot be read"


def _why(error: OSError, path: str) -> str:
    """Return why no helper answers, and what to type."""
    if isinstance(error, PermissionError):
        return f"{path} is not for this user; {_membership(path)}"
    if isinstance(error, FileNotFoundError):
        return f"no helper listens at {path}; type `{start_helper(path)}`"
    if isinstance(error, ConnectionError):  # nobody listens, or it ended before it greeted
        return f"the helper at {path} has ended; type `{start_helper(path)}`"
    return f"{path}: {error.strerror or error}; type `{start_helper(path)}`"


def _membership(path: str) -> str:
    """Return the commands that let this user connect."""
    try:
        group = grp.getgrgid(Path(path).stat().st_gid).gr_name
        user = pwd.getpwuid(os.geteuid()).pw_name
    except (OSError, KeyError):
        return f"type `{serve('--group', 'GROUP', path=path)}` with a group of yours"
    return f"type `sudo usermod -aG {group} {user}` and log in again"


atexit.register(forget)
os.register_at_fork(after_in_child=forget)
