"""The paths of a snapshot's files: ``PATH/host=HOST/pid=PID/part-0.parquet``; other names are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from pte_magic.errors import TargetError
from pte_magic.errors.cut import cut
from pte_magic.linux import hardware, kernel_text

if TYPE_CHECKING:
    from pathlib import Path

NAME = "part-0.parquet"
_PID = re.compile(r"pid=([1-9][0-9]{0,9})")
_PIDS = 1 << 31  # more than a pid_t can say
_LONGEST = 200  # NAME_MAX is 255
_SHOWN = 200  # characters


@dataclass(frozen=True, slots=True)
class File:
    """The file with the entries of one process."""

    path: Path
    host: str
    pid: int


def of_host(path: Path) -> Path:
    """Return the directory of this host's files in a data set.

    The name is printable text, which every reader of such a data set accepts. It has 64 bytes at most. If their escapes
    make it too long for a file name, it is the bytes themselves: `load` reads both.
    """
    name = quote(hardware.host(), safe="")
    return path / f"host={name if len(name) <= _LONGEST else quote(kernel_text.host(), safe='')}"


def of_process(directory: Path, pid: int) -> Path:
    """Return the path of a process' file in the directory of its host."""
    return directory / f"pid={pid}" / NAME


def shown(path: Path) -> str:
    """Return a path as an error shows it, cut: a path that no file system takes may have any length."""
    return cut(str(path), _SHOWN, in_middle=True)


def files(path: Path) -> list[File]:
    """Return the files of a snapshot, by host and pid.

    Raises:
        TargetError: There are none, or some that `snapshot` never writes.

    """
    found: dict[tuple[str, int], File] = {}
    for host in _below(path, "host="):
        machine = _host(host)
        for process in _below(host, "pid="):
            for file in _below(process, ""):
                if file.suffix != ".parquet" or file.name.startswith("."):
                    continue
                one = File(file, machine, _pid(process))
                if file.name != NAME:
                    message = f"{file} is not a file of a snapshot; each process has one, {NAME}; remove this one"
                    raise TargetError(message)
                other = found.setdefault((one.host, one.pid), one)
                if other is not one:
                    message = f"{file} and {other.path} are of the same process; remove one of them"
                    raise TargetError(message)
    if not found:
        message = f"{shown(path)!r} holds no snapshot; name a directory that pte_magic.snapshot() has written"
        raise TargetError(message)
    return [found[key] for key in sorted(found)]


def _below(directory: Path, begin: str) -> list[Path]:
    """Return the files in a directory that have such a name."""
    try:
        return sorted(one for one in directory.iterdir() if one.name.startswith(begin))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        message = f"{shown(directory)}: {error.strerror}; name a directory that pte_magic.snapshot() has written"
        raise TargetError(message) from error


def _host(directory: Path) -> str:
    name = unquote_to_bytes(kernel_text.exact(directory.name.removeprefix("host=")))
    if not name:
        message = f"{directory} is not named after a host; a snapshot has directories host=HOST/pid=PID"
        raise TargetError(message)
    return kernel_text.shown(name)


def _pid(directory: Path) -> int:
    named = _PID.fullmatch(directory.name)
    if not named or int(named[1]) >= _PIDS:
        message = f"{directory} is not named after a process; a snapshot has directories host=HOST/pid=PID"
        raise TargetError(message)
    return int(named[1])
