"""Descriptors of all kinds, to be sent to a helper: a few of them are of a pagemap."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from handmade import PAGE, libc
from test_forged_descriptors import FORGED
from turn import WAIT

from pte_magic.linux import system_calls

if TYPE_CHECKING:
    from collections.abc import Callable

PAGEMAPS = ("own pagemap", "pagemap of pid 1", "pagemap of the parent", "pagemap, to be written")
"""Kinds that are one; the kernel gives each of them to some users only."""
_PATHS = {
    "own pagemap": "/proc/self/pagemap", "pagemap of pid 1": "/proc/1/pagemap",
    "mem": "/proc/self/mem", "mem of pid 1": "/proc/1/mem", "maps": "/proc/self/maps", "smaps": "/proc/self/smaps",
    "environ": "/proc/self/environ", "status": "/proc/self/status", "kpagecount": "/proc/kpagecount",
    "kallsyms": "/proc/kallsyms", "kmsg": "/proc/kmsg", "mounts": "/proc/self/mounts", "/proc": "/proc",
    "namespace": "/proc/self/ns/mnt", "user namespace": "/proc/self/ns/user", "root": "/", "null": "/dev/null",
    "zero": "/dev/zero", "full": "/dev/full", "random": "/dev/random", "terminal": "/dev/ptmx", "fuse": "/dev/fuse",
    "sysfs": "/sys/kernel/mm/transparent_hugepage/enabled", "program": "/proc/self/exe", "tun": "/dev/net/tun",
}  # fmt: skip


def _parents_pagemap(_: Path) -> int:
    return os.open(f"/proc/{os.getppid()}/pagemap", os.O_RDONLY)


def _written(_: Path) -> int:
    return os.open("/proc/self/pagemap", os.O_RDWR)


def _soft_dirty(_: Path) -> int:
    return os.open("/proc/self/clear_refs", os.O_WRONLY)


def _deleted(path: Path) -> int:
    fd = os.open(path / "deleted", os.O_RDWR | os.O_CREAT)
    (path / "deleted").unlink()
    return fd


def _gone(_: Path) -> int:
    """Open the pagemap of a process that has ended."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    try:
        return os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _watching(path: Path) -> int:
    fd: int = libc.inotify_init()
    for number in range(20):
        (path / f"watched-{number}").touch()
        libc.inotify_add_watch(fd, os.fsencode(path / f"watched-{number}"), 0xFFF)
    return fd


def _poll(_: Path) -> int:
    found = select.epoll()
    reading, writing = os.pipe()
    found.register(reading, select.EPOLLIN | select.EPOLLET)
    os.close(reading)
    os.close(writing)
    return os.dup(found.fileno())


def _nested_poll(_: Path) -> int:
    inner, outer = select.epoll(), select.epoll()
    outer.register(inner.fileno(), select.EPOLLIN)
    return os.dup(outer.fileno())


def _signals(_: Path) -> int:
    return int(libc.signalfd(-1, ctypes.byref(ctypes.c_uint64(1 << 9)), 8))


def _full_pipe(_: Path) -> int:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(PAGE))
    os.close(writing)
    return reading


def _listening(path: Path) -> int:
    """Listen at a path, where somebody waits who has sent a descriptor."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    place = path / f"listening-{len(list(path.iterdir()))}"
    listening.bind(str(place))
    listening.listen()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
        waiting.connect(str(place))
        socket.send_fds(waiting, [b"x"], [listening.fileno()])
    return listening.detach()


def _cycle(_: Path) -> int:
    """Make a socket in whose queue it is itself, which only the kernel's collector gives back."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for _again in range(4):
        socket.send_fds(one, [b"x"], [other.fileno(), one.fileno()])
    one.close()
    return other.detach()


def _shared(_: Path) -> int:
    fd = os.memfd_create("sent", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, PAGE)
    libc.fcntl(fd, 1033, 0x1F)  # F_ADD_SEALS: all
    return fd


def _secret(_: Path) -> int:
    return int(libc.syscall(447, 0))  # memfd_secret


def _user_faults(_: Path) -> int:
    return int(libc.syscall(system_calls.number("userfaultfd"), 1))


def _rings(_: Path) -> int:
    return int(libc.syscall(425, 8, ctypes.byref(ctypes.create_string_buffer(120))))  # io_uring_setup


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    libc.flock(fd, 5)  # LOCK_SH | LOCK_NB
    return fd


_MADE: dict[str, Callable[[Path], int]] = {
    "pagemap of the parent": _parents_pagemap, "pagemap, to be written": _written,
    "pagemap of nobody any more": _gone, "clear_refs": _soft_dirty, "deleted": _deleted, "inotify": _watching,
    "epoll": _poll, "epoll of epoll": _nested_poll, "signalfd": _signals, "full pipe": _full_pipe,
    "listening socket": _listening, "sockets in a circle": _cycle, "sealed memfd": _shared, "secret memory": _secret,
    "userfaultfd": _user_faults, "io_uring": _rings, "locked directory": _locked,
    "eventfd": lambda _: os.eventfd(7), "timer": lambda _: int(libc.timerfd_create(1, 0)),
    "pidfd": lambda _: os.pidfd_open(os.getpid()), "pidfd of the parent": lambda _: os.pidfd_open(os.getppid()),
    "TCP": lambda _: socket.socket().detach(), "UDP": lambda _: socket.socket(type=socket.SOCK_DGRAM).detach(),
    "netlink": lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).detach(),
    "datagrams": lambda _: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach(),
    "algorithms": lambda _: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).detach(),
    "link": lambda _: os.open("/proc/self/exe", os.O_PATH | os.O_NOFOLLOW),
    **{make.__name__.replace("_", " "): make for make in FORGED},
    **{name: lambda _, path=path: os.open(path, os.O_RDONLY | os.O_NOCTTY) for name, path in _PATHS.items()},  # type: ignore[misc]
}  # fmt: skip
_LINGERS = struct.pack("ii", 1, 10 * WAIT)
LINGERING = "TCP that lingers"
"""A socket whose closing waits for a peer who receives nothing, until `Sent` is closed: longer than anybody waits."""


class Sent:
    """One descriptor of each kind that this user can have; a context manager.

    Attributes:
        of_kind: Each of them, by the name of its kind.

    """

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        path = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._silent = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.of_kind = {}
        for name, make in _MADE.items():
            with suppress(OSError):
                fd = make(path)
                if fd >= 0:
                    self._stack.callback(os.close, fd)
                    self.of_kind[name] = fd
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lingering(self) -> socket.socket:
        """Return a TCP socket that has to be sent, and closed here before it is closed there."""
        made = socket.create_connection(self._silent.getsockname())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGERS)
        made.setblocking(False)  # noqa: FBT003
        with suppress(BlockingIOError):
            while True:
                made.send(bytes(1 << 16))
        return made
