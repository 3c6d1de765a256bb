"""`Script`: a script of SystemTap, with all that its module depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pte_magic.systemtap import toolchain

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Script:
    """A script and everything else that its module depends on, but for the kernel and SystemTap.

    Attributes:
        text: The script.
        name: Name of the module, and of the script in SystemTap's messages.
        options: More options for ``stap``.
        arguments: The script's ``$1`` and ``@1``, ….
        include: Directories of tapsets.

    """

    text: str
    name: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    include: tuple[Path, ...] = field(default=(toolchain.TAPSET,))
