"""Options that the running kernel was built with, where they can be read."""

from __future__ import annotations

import functools
import gzip
import platform
import zlib

from pte_magic.linux import kernel_text


def has(option: str) -> bool | None:
    """Tell whether the kernel was built with an option, such as ``CONFIG_READ_ONLY_THP_FOR_FS``.

    None if its options cannot be read: neither /proc/config.gz nor /boot/config-RELEASE is there.
    """
    lines = _lines()
    return None if lines is None else f"{option}=y".encode() in lines


@functools.cache
def _lines() -> frozenset[bytes] | None:
    try:
        return frozenset(kernel_text.lines(gzip.decompress(kernel_text.read("/proc/config.gz"))))
    except (OSError, EOFError, zlib.error):
        pass
    try:
        return frozenset(kernel_text.lines(kernel_text.read(f"/boot/config-{platform.release()}")))
    except OSError:
        return None
