"""Who is at the other end of a connection, as the kernel says."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("=iII")
_SO_PEERGROUPS = 59  # asm-generic/socket.h; since 4.13
_MAX_GROUPS = 256  # as many as Python's getsockopt has room for


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as it was then: it cannot get or lose a group afterwards (SO_PEERCRED, unix(7)).

    Attributes:
        pid: In the helper's pid namespace, 0 if it is not in there. It says who is logged, and decides nothing.
        uid: Its user.
        groups: Its group and its supplementary groups.

    """

    pid: int
    uid: int
    groups: frozenset[int]

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Ask the kernel. Of who is in more than 256 groups only the first is known, which gives no more rights."""
        pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        try:
            told = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS * 4)
        except OSError:
            told = b""
        return cls(pid, uid, frozenset((gid, *memoryview(told).cast("I"))))
