"""Imports at the moment of need: no interrupt leaves them half done, and scarce descriptors are one line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pte_magic.linux import descriptors
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def importing() -> Iterator[None]:
    """Defer interrupts; raise `ResourceError` if what is imported cannot be opened, as no descriptor is free."""
    with deferred():
        try:
            yield
        except (OSError, ImportError) as error:  # as Python says so, and as the linker does
            if descriptors.are_free():
                raise
            raise descriptors.none_free() from error
