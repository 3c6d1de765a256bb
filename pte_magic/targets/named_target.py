"""`Named`: a target with the words that named it, and the object, if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.targets.target import Target


class Named(NamedTuple):
    """A named target. It holds a reference to the object, so its memory is not freed before the walk.

    Attributes:
        text: All the words.
        name: The words without a pid.
        value: The object, if they are a Python expression; else None.
        meant: Its addresses.
        space: Their address space, open.

    """

    text: str
    name: str
    value: object
    meant: Target
    space: AddressSpace
