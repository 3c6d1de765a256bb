"""Directories in which no other user can replace a file: opened, or made, step by step."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40  # MAXSYMLINKS, include/linux/namei.h


def opened(directory: Path) -> int:
    """Return a descriptor of a directory, and make its missing parts, mode 0755.

    Each directory on the way has to belong to root or to this process' user, and no other user may write to it, as that
    user could replace the next one by a link. On the way, others may write to a directory with the sticky bit, such as
    /tmp: they cannot replace files of others. They may not write to the last one. A link is followed if it belongs to
    root or to this user, as /var/run does.

    Raises:
        OSError: It cannot be opened or made, or others may write to a directory; the message says which.

    """
    way, path, links = [*reversed(directory.absolute().parts[1:])], "", 0
    here = os.open("/", _OPEN)
    try:
        while way:
            part = way.pop()
            if part in ("", "."):
                continue
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=here)
            found = os.stat(part, dir_fd=here, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                links += 1
                _check(found, f"{path}/{part}", links=links)
                to = os.readlink(part, dir_fd=here)
                way += reversed(to.split("/"))
                if to.startswith("/"):
                    here, path = _instead(here, "/", None), ""
                continue
            here, path = _instead(here, part, here), f"{path}/{part}"
            _check(os.fstat(here), path)
        _check(os.fstat(here), path or "/", may_be_sticky=False)  # also where a link led back to one on the way
    except BaseException:
        os.close(here)
        raise
    return here


def _instead(here: int, part: str, within: int | None) -> int:
    """Open the next directory, and close the one before."""
    below = os.open(part, _OPEN, dir_fd=within)
    os.close(here)
    return below


def _check(found: os.stat_result, name: str, *, may_be_sticky: bool = True, links: int = 0) -> None:
    if links > _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    is_link = stat.S_ISLNK(found.st_mode)  # of which the mode means nothing
    others = found.st_mode & _OTHERS_MAY_WRITE and not is_link and not (found.st_mode & stat.S_ISVTX and may_be_sticky)
    if found.st_uid not in (0, os.geteuid()) or others:
        mode = stat.S_IMODE(found.st_mode)
        raise PermissionError(errno.EPERM, f"others may write to {name} (user {found.st_uid}, mode {mode:04o})")
