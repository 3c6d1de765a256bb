"""`Listener`: the socket that the helper listens on, made by the helper or by systemd."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.helper import safe_directories
from pte_magic.helper.policy import HelperError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BACKLOG = 128
_FIRST = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
_MODE = 0o660
_LONGEST = 107  # bytes of sun_path, unix(7)


class Listener:
    """The socket, listening.

    Attributes:
        socket: The socket.
        path: Its path.
        made: True if this process made it; else systemd did.

    """

    def __init__(self, path: str, group: int) -> None:
        """Take the socket that systemd passed, or make one at `path` for the members of `group`.

        A missing directory is made, too: a directory of its own can be mounted into containers, and also shows a helper
        there that is started later.

        Raises:
            HelperError: Somebody listens there already, it cannot be made, or others may write to the directory.

        """
        self._file: os.stat_result | None = None
        passed = _passed()
        self.made = passed is None
        if passed:
            self.socket, self.path = passed, passed.getsockname()
            return
        self.path = path
        try:
            _check_length(path)
            self._directory = safe_directories.opened(Path(path).parent)
            try:
                self.socket = self._make(Path(path).name, group)
            except BaseException:
                os.close(self._directory)
                raise
        except OSError as error:
            message = f"{path}: {error.strerror or error}; type `pte-magic serve --socket PATH` for another path"
            raise HelperError(message) from error

    def _make(self, name: str, group: int) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with _alone(self._directory, name):
                _clear(self._directory, name)
                before = os.umask(0o777 & ~_MODE)  # its group is this process' until it is known who may connect
                try:
                    listening.bind(_within(self._directory, name))
                finally:
                    os.umask(before)
                os.chown(name, -1, group, dir_fd=self._directory, follow_symlinks=False)
                self._file = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
                listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening

    def close(self) -> None:
        """Stop listening; remove the file, if it is still the same. A second call does nothing."""
        if self._file:
            name = Path(self.path).name
            with suppress(OSError):
                if os.path.samestat(self._file, os.stat(name, dir_fd=self._directory, follow_symlinks=False)):
                    os.unlink(name, dir_fd=self._directory)
            self._file = None
            os.close(self._directory)
        self.socket.close()


def _check_length(path: str) -> None:
    """Raise the error of bind(2) for a path that clients could not use; bind itself gets another path."""
    if len(os.fsencode(path)) > _LONGEST:
        raise OSError(errno.ENAMETOOLONG, "AF_UNIX path too long")


def _within(directory: int, name: str) -> str:
    """Return the path of a file in an open directory, whatever its current name is."""
    return f"/proc/self/fd/{directory}/{name}"


def _passed() -> socket.socket | None:
    """Return the listening socket that systemd passed to this process, if it did."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS", "0") == "0":
        return None
    found = socket.socket(fileno=_FIRST)
    found.set_inheritable(False)
    if (found.family, found.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        message = (
            "the socket that systemd passed is not a Unix socket of type SOCK_SEQPACKET; type ListenSequentialPacket="
        )
        raise HelperError(message)
    return found


@contextmanager
def _alone(directory: int, name: str) -> Iterator[None]:
    """Make other helpers wait that start here: by a lock on a file that only this user may open; it is removed."""
    file = f".{name}.lock"
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_called(lock, directory, file):  # else who had it before has removed it
                try:
                    yield
                finally:
                    with suppress(FileNotFoundError):
                        os.unlink(file, dir_fd=directory)
                return
        finally:
            os.close(lock)


def _is_called(fd: int, directory: int, name: str) -> bool:
    """Tell whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _clear(directory: int, name: str) -> None:
    """Remove the socket's file that a killed helper left behind."""
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        try:
            asking.connect(_within(directory, name))
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory)
            return
        pid, _, _ = struct.unpack("=iII", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    raise OSError(errno.EADDRINUSE, f"served by pid {pid} already")
