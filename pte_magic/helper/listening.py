"""The socket that the helper listens on: made by it, or by systemd."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

from pte_magic.helper.policy import HelperError

_BACKLOG = 128
_FIRST = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_MODE = 0o660


class Listener:
    """The socket, listening.

    Attributes:
        socket: It.
        path: Where it is.
        made: Whether it was made by this process; systemd has made it otherwise.

    """

    def __init__(self, path: str, group: int) -> None:
        """Take the socket that systemd passed, or make one at `path` for the members of `group`.

        A directory that does not exist is made, too: one of its own can be mounted into containers, and shows there a
        helper that was started later.

        Raises:
            HelperError: Somebody listens there already, or it cannot be made.

        """
        self._file: tuple[int, int] | None = None
        passed = _passed()
        self.made = passed is None
        if passed:
            self.socket, self.path = passed, passed.getsockname()
            return
        self.path = path
        try:
            self.socket = self._make(Path(path), group)
        except OSError as error:
            message = f"{path}: {error.strerror or error}; type `pte-magic serve --socket PATH` for another place"
            raise HelperError(message) from error

    def _make(self, path: Path, group: int) -> socket.socket:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)  # of two that start at a time, one is first
            _clear(path)
            before = os.umask(0o777)  # nobody, until it is known who
            try:
                listening.bind(str(path))
            finally:
                os.umask(before)
            os.chown(path, -1, group)
            path.chmod(_MODE)
            found = path.stat()
            self._file = found.st_dev, found.st_ino
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        finally:
            os.close(directory)
        return listening

    def close(self) -> None:
        """Stop listening; remove the file, if it is still the one that was made."""
        if self._file:
            with suppress(OSError):
                found = os.lstat(self.path)
                if (found.st_dev, found.st_ino) == self._file:
                    Path(self.path).unlink()
        self.socket.close()


def _passed() -> socket.socket | None:
    """Return the listening socket that systemd passed to this process, if it did."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS", "0") == "0":
        return None
    found = socket.socket(fileno=_FIRST)
    found.set_inheritable(False)
    if (found.family, found.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        message = (
            "the socket that systemd passed is no Unix socket of type SOCK_SEQPACKET; type ListenSequentialPacket="
        )
        raise HelperError(message)
    return found


def _clear(path: Path) -> None:
    """Remove the socket's file that a killed helper left behind."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "it exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        pid, _, _ = struct.unpack("=iII", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    raise OSError(errno.EADDRINUSE, f"served by pid {pid} already")
