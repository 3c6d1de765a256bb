"""The errors of pte-magic: each message is one line that says what is wrong and what to type.

Every exception keeps its constructor's arguments in ``args``, so it survives pickling between processes.
"""

from __future__ import annotations

from pte_magic.errors.cut import cut
from pte_magic.errors.escapes import visible, visible_lines

_LONGEST = 1000  # letters of an error; what is typed and what others say was cut before, to much less
_SAID = 200  # letters of somebody else's message


class PteMagicError(Exception):
    """Base of all errors that pte-magic raises on purpose."""

    __module__ = "pte_magic"

    def __str__(self) -> str:
        return _line(super().__str__())  # it may name a file or a process, whose name may be anything


class TargetError(PteMagicError, ValueError):
    """The target does not name memory that can be walked."""

    __module__ = "pte_magic"


class NoSuchProcessError(PteMagicError, ProcessLookupError):
    """There is no process with this pid (in the pid namespace of /proc)."""

    __module__ = "pte_magic"

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid

    def __str__(self) -> str:
        return f"pid {self.pid}: no such process; `ps -e` lists the pids of this host"


class AccessDeniedError(PteMagicError, PermissionError):
    """The kernel does not let this user look at that process."""

    __module__ = "pte_magic"

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid

    def __str__(self) -> str:
        return (
            f"pid {self.pid}: permission denied; /proc/{self.pid}/pagemap opens only for users who may ptrace the "
            "process: its own user (see /proc/sys/kernel/yama/ptrace_scope) or root"
        )


class NoAddressSpaceError(PteMagicError):
    """The process exists but has no user address space, or no longer has the one that was opened."""

    __module__ = "pte_magic"

    def __init__(self, pid: int, why: str) -> None:
        super().__init__(pid, why)
        self.pid = pid
        self.why = why

    def __str__(self) -> str:
        return _line(f"pid {self.pid}: {self.why}")


class NoProcError(PteMagicError):
    """There is no /proc, or it belongs to another pid namespace."""

    __module__ = "pte_magic"

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid

    def __str__(self) -> str:
        return f"/proc is not mounted, or does not have this process, pid {self.pid}; type `mount -t proc proc /proc`"


class WalkerUnavailableError(PteMagicError):
    """A walker cannot work here; the message says why and what to type."""

    __module__ = "pte_magic"

    def __init__(self, walker: str, why: str) -> None:
        super().__init__(walker, why)
        self.walker = walker
        self.why = why

    def __str__(self) -> str:
        return _line(f"walker {self.walker!r} cannot work here: {self.why}")


class WalkerClosedError(WalkerUnavailableError):
    """The walker was closed: by `pte_magic.walkers.close`, by ``%unload_ext``, or in a forked child."""

    __module__ = "pte_magic"

    def __init__(
        self, walker: str, why: str = "this walker was closed; call pte_magic.walkers.get() for another"
    ) -> None:
        super().__init__(walker, why)


class SourceUnavailableError(PteMagicError):
    """A source of events cannot work here; the message says why and what to type."""

    __module__ = "pte_magic"

    def __init__(self, source: str, why: str) -> None:
        super().__init__(source, why)
        self.source = source
        self.why = why

    def __str__(self) -> str:
        return _line(f"source {self.source!r} cannot work here: {self.why}")


class UnstableError(PteMagicError):
    """The page tables changed at every attempt to read one of them."""

    __module__ = "pte_magic"

    def __init__(self, pid: int, address: int) -> None:
        super().__init__(pid, address)
        self.pid = pid
        self.address = address

    def __str__(self) -> str:
        return (
            f"pid {self.pid}: the page tables at {self.address:#x} changed at every attempt to read them; "
            "stop the process (`kill -STOP`) or try again"
        )


class MissingPackageError(PteMagicError, ImportError):
    """An optional package is not installed."""

    __module__ = "pte_magic"

    def __init__(self, package: str = "pyarrow", extra: str = "parquet") -> None:
        super().__init__(package, extra)
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.package} is not installed; type `pip install 'pte-magic[{self.extra}]'`"


class SystemTapError(PteMagicError):
    """SystemTap refused a script, or the kernel refused its module; the message has their words, line by line."""

    __module__ = "pte_magic"

    def __str__(self) -> str:
        return visible_lines(Exception.__str__(self))


class WorkloadError(PteMagicError, ValueError):
    """Memory or a process for an experiment cannot be made as requested, or has ended."""

    __module__ = "pte_magic"


class ResourceError(PteMagicError):
    """A resource is used up: descriptors, threads, disk space. The message says which."""

    __module__ = "pte_magic"


def said(error: BaseException) -> str:
    """Return the text of a foreign error: its first line, cut; its class if there is no text."""
    try:
        words = str.strip(str(error)).partition("\n")[0]
    except Exception:  # noqa: BLE001  (somebody else's __str__)
        words = ""
    words = words or type.__dict__["__name__"].__get__(type(error))
    return visible(cut(words, _SAID))


def _line(text: str) -> str:
    """Return the text of an error on one line; a long text is cut in the middle, as its end says what to type."""
    return visible(cut(text, _LONGEST, in_middle=True))
