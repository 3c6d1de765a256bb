"""`fork_with`: a child that waits, writes or reads a page on request, and never outlives its notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic.errors import WorkloadError, arguments
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.workloads.forked_process import Forked

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Child(Forked):
    """A forked process that has the same array at the same addresses; made by `fork_with`.

    A context manager: in the end the process is killed and reaped. The same happens by `close`, when the object is
    deleted, and when the notebook ends in any way.

    Attributes:
        pid: The process: ``%pte child.pid a``.
        returncode: None until its end is noticed; then as in `subprocess.Popen`: minus the signal.

    """

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        """Fork; `fork_with` says what the array has to be."""
        self._bytes = _bytes(array)
        self._inset = self._bytes.ctypes.data % PAGE_SIZE
        self._pages = -(-(self._inset + len(self._bytes)) // PAGE_SIZE)
        super().__init__(self._use)

    def write(self, page: int, value: int = 1) -> None:
        """Let the child write to the array's first byte in a page.

        Args:
            page: Number of the page, counted from the first one of the array.
            value: From 0 to 255.

        Raises:
            WorkloadError: There is no such page, the array is read-only, or the child has ended, such as by writing to
                protected memory.

        """
        byte = arguments.integer(value, "value", "type one from 0 to 255", least=0, error=WorkloadError)
        if byte > np.iinfo(np.uint8).max:
            message = f"value={arguments.shown(byte)} does not fit in a byte; type one from 0 to 255"
            raise WorkloadError(message)
        at = self._at(page)
        if not self._bytes.flags.writeable:
            message = "the array is read-only, so the child cannot write to it; fork with another, or a copy of it"
            raise WorkloadError(message)
        self.call(at, byte)

    def read(self, page: int) -> int:
        """Let the child read the array's first byte in a page; return it. Otherwise like `write`."""
        return int(self.call(self._at(page), None))

    def _at(self, page: int) -> int:
        page = arguments.integer(page, "page", f"type one from 0 to {self._pages - 1}", error=WorkloadError)
        if not 0 <= page < self._pages:
            message = f"page {arguments.shown(page)} does not exist; those of the array are 0 to {self._pages - 1}"
            raise WorkloadError(message)
        return max(0, page * PAGE_SIZE - self._inset)

    def _use(self, at: int, value: int | None) -> int | None:
        if value is None:
            return int(self._bytes[at])
        self._bytes[at] = value
        return None


def fork_with(array: np.ndarray[Any, Any]) -> Child:
    """Fork a child, to compare with this process.

    It has all memory of this process as it is now, but not its open files and threads, and acts on request.

    >>> with fork_with(a) as child:
    ...     child.write(0)
    ...     theirs = pte_magic.walk(a, pid=child.pid)

    Args:
        array: The array that the child writes to and reads.

    Raises:
        WorkloadError: The array's elements are not contiguous.
        OSError: fork(2) failed.

    """
    return Child(array)


def _bytes(array: np.ndarray[Any, Any]) -> NDArray[np.uint8]:
    # A subclass may have its own idea of everything; of a masked array, written to and read are the elements.
    plain = np.ndarray.view(array, np.ndarray) if issubclass(type(array), np.ndarray) else np.empty(0)
    if not plain.flags.c_contiguous or not plain.nbytes or plain.dtype.hasobject:
        message = (
            f"the {arguments.class_name(array)} is not a contiguous array of numbers; type np.ones(4096), for example"
        )
        raise WorkloadError(message)
    return plain.reshape(-1).view(np.uint8)
