"""`Peer`: the process at the other end of a connection, as the kernel reports it."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_UCRED = struct.Struct("=iII")
_SO_PEERGROUPS = 59  # asm-generic/socket.h; since 4.13
_MAX_GROUPS = 256  # as many as Python's getsockopt has room for
_USERS, _SUBORDINATES = Path("/etc/passwd"), Path("/etc/subuid")
_FORM = {_USERS: re.compile(rb"[^:]+:[^:]*:\d+:.*"), _SUBORDINATES: re.compile(rb"[^:]+:\d+:\d+")}


@dataclass(frozen=True, slots=True)
class Peer:
    """The connected process, as it was at that moment: later changes of its groups do not count (SO_PEERCRED, unix(7)).

    Attributes:
        pid: In the helper's pid namespace, 0 if it is not in it. It is only logged, and decides nothing.
        uid: Its user.
        groups: Its group and its supplementary groups.
        account: The user who owns the uid (subuid(5)), as for uids of a container; else the uid itself. Limits are per
            account: a user with 65,536 uids is one account.

    """

    pid: int
    uid: int
    groups: frozenset[int]
    account: int

    @classmethod
    def of(cls, connection: socket.socket) -> Peer:
        """Ask the kernel. With more than 256 groups only the first is known, which never gives more rights."""
        pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        try:
            told = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS * 4)
        except OSError:
            told = b""
        return cls(pid, uid, frozenset((gid, *memoryview(told).cast("I"))), _account(uid))


def _account(uid: int) -> int:
    """Return the owner of a uid, by the files only: a directory service could keep the helper waiting."""
    for owner, start, count in _lines(_SUBORDINATES):
        first = int(start)
        if first <= uid < first + int(count):
            users = {name: number for name, _, number, *_ in _lines(_USERS)}
            return int(users.get(owner, owner if owner.isdigit() else start))
    return uid


def _lines(path: Path) -> list[list[bytes]]:
    """Return the fields of each well-formed line of a file of users."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    return [line.split(b":") for line in lines if _FORM[path].fullmatch(line)]
