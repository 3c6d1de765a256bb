"""The messages between a client and the helper, for both sides; docs/helper.md describes them.

A Unix socket of type SOCK_SEQPACKET. The helper greets each client, and sends a descriptor of the memory for its
answers, which only the helper can write to. Then each request, with the descriptor of a pagemap, gets one answer. That
memory has two areas, which answers use in turn: while a client reads one, the helper writes the next. An area has the
layout of every walker in the kernel: `shared_memory`.
"""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from pathlib import Path

from pte_magic.linux import hardware
from pte_magic.walkers.shared_memory import MEMORY_BYTES

VERSION = 2
MAGIC = b"pte\0"
VARIABLE, DEFAULT_SOCKET = "PTE_MAGIC_SOCKET", "/run/pte-magic/socket"
UNIT = Path("/etc/systemd/system/pte-magic.socket")
"""By which systemd listens there, if ``pte-magic install-service`` wrote it."""

GREETING = struct.Struct("=4sIIIQQ")
"""Magic, version, status, flags (`FRAMES_HIDDEN`), bytes of the memory, encryption mask. With one descriptor, if OK."""
REQUEST = struct.Struct("=IIQQQ")
"""Version, flags (`TABLES`, `GO_ON`), where the whole walk began, start, end. With one descriptor, a pagemap's."""
ANSWER = struct.Struct("=IIIIQQ")
"""Version, status, entries and spans, the address at which the next request goes on, the beginning of their area."""

AREAS = (0, MEMORY_BYTES)
"""The beginnings of the areas in the memory; each has the layout of a walker in the kernel."""
MEMORY = len(AREAS) * MEMORY_BYTES
"""Bytes of the memory."""

TABLES = 1
"""Flag of a request: also the entries on the way."""
GO_ON = 2
"""Flag of a request: it begins where the last answer ended, whatever start is. So it can be sent before that answer."""
FRAMES_HIDDEN = 1
"""Flag of a greeting: all entries come without page frame numbers and swap locations."""


class Status(IntEnum):
    """The result of a request, or of a connection."""

    OK = 0
    NOT_PAGEMAP = 1
    """The descriptor is not an open /proc/PID/pagemap."""
    GONE = 2
    """The address space was torn down since the pagemap was opened."""
    UNSTABLE = 3
    """The page tables at the address in the answer changed at every attempt to read them."""
    MALFORMED = 4
    """The message is not of this protocol, or does not ask for a range of user addresses."""
    VERSION = 5
    """The message is of another version; the answer has the helper's version."""
    BUSY = 6
    """The most connections are in use, in all or by this user. Only in a greeting."""
    FAILED = 7
    """The helper's own walker failed; its journal says how."""


def socket_path() -> str:
    """Return the path of the helper's socket: `VARIABLE` of the environment, or `DEFAULT_SOCKET`."""
    return os.environ.get(VARIABLE) or DEFAULT_SOCKET


def is_range(origin: int, start: int, end: int) -> bool:
    """Tell whether a request may have this range: whole pages of user addresses, and origin at or before start.

    The kernel's half of the page tables, which every address space has, is never shown.
    """
    whole = not (origin | start | end) % hardware.PAGE_SIZE
    return whole and origin <= start < end <= hardware.user_limit()
