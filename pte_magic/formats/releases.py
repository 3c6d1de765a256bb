"""Releases of Linux by name, for entries of other hosts, and the distributions that configured them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import shown

Release = tuple[int, int]

OLDEST, NEWEST = (6, 1), (7, 2)
"""The first and the last known release: their sources were read."""

_NAME = re.compile(r"(\d{1,4})\.(\d{1,4})(?:[.+~_-]\S*)?", re.ASCII)
_VENDORS = {
    "Debian": re.compile(r"[+.]deb\d+|\+bpo|\.0-\d+-(cloud-|rt-)?(amd64|arm64|686|686-pae)$"),
    "Fedora": re.compile(r"\.fc\d+"),
}
"""Patterns of the releases of distributions, as ``uname -r`` prints them."""

_CONFIGURED = {
    ("device_private", "Debian"): (((6, 1), (6, 12), False), ((7, 2), (7, 2), True)),
    ("device_private", "Fedora"): (((6, 1), NEWEST, True),),
}
"""Of features in which distributions differ: from which to which release one has it, or has it not.

Of amd64 and arm64 alike, from /boot/config of Debian's 6.1, 6.12 and 7.2, and Fedora's kernel-*-fedora.config of 6.1 to
6.8. All these have MIGRATION, MEMORY_FAILURE, MEM_SOFT_DIRTY (amd64) and USERFAULTFD.
"""


class Named(NamedTuple):
    """A release that a user named.

    Attributes:
        release: Its first two numbers.
        vendor: Its distribution, a key of `_VENDORS`, if the name includes it.

    """

    release: Release
    vendor: str | None

    def configured(self, feature: str) -> bool | None:
        """Tell whether the kernel is configured with a feature; None if it is not known."""
        for first, last, has in _CONFIGURED.get((feature, self.vendor or ""), ()):
            if first <= self.release <= last:
                return has
        return None


def named(text: Any) -> Named:
    """Return the release that a text names: ``"6.1"``, or all that ``uname -r`` prints.

    Raises:
        TargetError: It does not name a release, or one before or after the known ones.

    """
    found = _NAME.fullmatch(str.strip(text)) if issubclass(type(text), str) else None
    first, last = (".".join(map(str, release)) for release in (OLDEST, NEWEST))
    if found is None:
        message = (
            f"release {shown(text)} is not a release of Linux; type a text such as '{first}', or all of `uname -r`"
        )
        raise TargetError(message)
    release = int(found[1]), int(found[2])
    if not OLDEST <= release <= NEWEST:
        message = f"release {shown(text)} is not known; those from '{first}' to '{last}' are"
        raise TargetError(message)
    return Named(release, next((name for name, looks in _VENDORS.items() if looks.search(found[0])), None))
