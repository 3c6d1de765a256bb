"""All formats of page-table entries, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import shown
from pte_magic.formats import arm64, x86_32, x86_64

if TYPE_CHECKING:
    from pte_magic.formats.format import Format

FORMATS: dict[str, Format] = {
    found.name: found for found in (x86_64.FORMAT, x86_32.X86_32, x86_32.X86_PAE, *arm64.FORMATS)
}
"""By name."""

ALIASES = {
    **dict.fromkeys(("arm64", "aarch64"), "arm64_4k"),
    **dict.fromkeys(("i386", "i486", "i586", "i686"), "x86_32"),
    **dict.fromkeys(("amd64", "x64"), "x86_64"),
}
"""Other names that people use; dashes and capitals do not matter."""


def of(name: str) -> Format:
    """Return the format of a name.

    Raises:
        TargetError: There is no such format.

    """
    plain = str.strip(name).lower().replace("-", "_") if issubclass(type(name), str) else ""
    found = FORMATS.get(ALIASES.get(plain, plain))
    if found is None:
        message = f"format {shown(name)} does not exist; type one of {', '.join(FORMATS)}"
        raise TargetError(message)
    return found
