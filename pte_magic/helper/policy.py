"""`Policy`: the settings of the administrator: who may connect, who sees page frames, and limits per client."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pte_magic.errors import PteMagicError

if TYPE_CHECKING:
    from pte_magic.helper.peer import Peer

GROUP = "pte-magic"
"""The default group that may connect, if it exists."""
DEFAULT_GROUP = f"default: your own group if you typed sudo, else {GROUP} if there is such a group, else root's"
"""The text about it in the commands' help."""


class HelperError(PteMagicError):
    """The helper cannot do what the administrator typed; the message says why, and what to type."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and permissions.

    Attributes:
        frames: Number of the group whose members see page frame numbers and swap locations; None for nobody. Root is
            not an exception: the kernel requires a capability (``pagemap_read()``), which a container's root lacks.
        clients: The most connections at a time. Each takes 2.5 MB.
        clients_of_a_user: The most connections of one user.
        rows: The most entries of one answer, about, before the next client's turn. None for the walker's own piece.

    """

    frames: int | None = None
    clients: int = 128
    clients_of_a_user: int = 16
    rows: int | None = None

    def sees_frames(self, peer: Peer) -> bool:
        """Tell whether this peer may see page frame numbers and swap locations."""
        return self.frames is not None and self.frames in peer.groups


def group(named: str) -> int:
    """Return the number of a group, by name or number.

    Raises:
        HelperError: There is no such group.

    """
    try:
        return grp.getgrnam(named).gr_gid
    except KeyError:
        if named.isascii() and named.isdecimal():
            return int(named)
    message = f"group {named!r} does not exist; type `groupadd {named}`, or one of those that `getent group` lists"
    raise HelperError(message)


def default_group() -> int:
    """Return the default group that may connect: that of the user of sudo, else `GROUP` if it exists, else root's."""
    try:
        return pwd.getpwuid(int(os.environ["SUDO_UID"])).pw_gid
    except (KeyError, ValueError):
        pass
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return 0


def name_of(gid: int) -> str:
    """Return the name of a group, or its number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
