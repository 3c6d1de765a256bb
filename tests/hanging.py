"""A file of FUSE whose daemon never answers when it is closed, for tests.

Who has it open cannot end before it is let go, nor can who was forked from that: so a process of its own opens it.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import struct
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from handmade import check, libc
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN, FLUSH, INIT = 14, 25, 26  # linux/fuse.h
_MNT_FORCE, _MNT_DETACH = 1, 2
_HEADER = struct.Struct("=IIQ")  # struct fuse_in_header: length, opcode, unique; more follows
_REPLY = struct.Struct("=IiQ")  # struct fuse_out_header
_SAYS = {
    INIT: struct.pack("=IIIIHHII36x", 7, 31, 0, 0, 16, 12, 4096, 1),  # struct fuse_init_out
    OPEN: struct.pack("=QII", 0, 0, 0),  # struct fuse_open_out
}


class Hanging:
    """A mounted file.

    Attributes:
        path: The file.
        asked: What its daemon was asked, ``enum fuse_opcode``; it answers INIT and OPEN, and nothing else.

    """

    def __init__(self, path: Path, device: int) -> None:
        self.path = path
        self.asked: list[int] = []
        self._device = device
        self._ended = threading.Event()
        self._daemon = threading.Thread(target=self._answer)
        self._daemon.start()

    def _answer(self) -> None:
        while not self._ended.is_set():
            if not select.select([self._device], [], [], 0.1)[0]:
                continue
            try:
                request = os.read(self._device, 1 << 16)
            except OSError:  # ENODEV: it was unmounted
                return
            _, opcode, unique = _HEADER.unpack_from(request)
            self.asked.append(opcode)
            if opcode in _SAYS:
                os.write(self._device, _REPLY.pack(_REPLY.size + len(_SAYS[opcode]), 0, unique) + _SAYS[opcode])

    def let_go(self) -> None:
        """Unmount it, which ends all waiting, first of all."""
        libc.umount2(os.fsencode(self.path), _MNT_FORCE)  # and says that it is busy, as it is open
        libc.umount2(os.fsencode(self.path), _MNT_DETACH)

    def end(self) -> None:
        self._ended.set()
        self._daemon.join()


@contextmanager
def hanging(path: Path) -> Iterator[Hanging]:
    """Mount a FUSE file at `path`, with a daemon in this process; unmounted when the block ends."""
    if modprobe := shutil.which("modprobe"):
        subprocess.run([modprobe, "-q", "fuse"], check=False)
    path.touch()
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        pytest.skip("needs a kernel with FUSE")
    try:
        options = f"fd={device},rootmode=100444,user_id=0,group_id=0"
        check(libc.mount(b"hanging", os.fsencode(path), b"fuse", ctypes.c_ulong(0), options.encode()))
        file = Hanging(path, device)
        try:
            wait_until(lambda: INIT in file.asked)
            yield file
        finally:
            file.let_go()
            file.end()
    finally:
        os.close(device)
