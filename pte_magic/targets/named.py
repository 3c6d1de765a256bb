"""`Named`: a target with the words that named it, and the object, if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.targets.target import Target


class Named(NamedTuple):
    """What was named. Whoever has this holds the object, so its memory is not free again when it is looked at.

    Attributes:
        text: All the words.
        name: The words that name the target, without a pid.
        value: The object, if these are a Python expression; else None.
        meant: Its addresses.
        space: Where they are; open.

    """

    text: str
    name: str
    value: object
    meant: Target
    space: AddressSpace
