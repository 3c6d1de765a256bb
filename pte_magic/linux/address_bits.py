"""What the bits for an address in an entry hold besides one, or instead of one: it goes wherever the entries go."""

from __future__ import annotations

from typing import NamedTuple


class AddressBits(NamedTuple):
    """How the bits for an address are to be read, in entries that somebody read on some machine.

    Attributes:
        encryption_mask: The one by which they say that memory is encrypted (AMD's C-bit), or 0.
        frames_hidden: Page frame numbers and swap locations were taken out of them: see `formats.hidden`.

    """

    encryption_mask: int = 0
    frames_hidden: bool = False


PLAIN = AddressBits()
"""They hold an address, and nothing else."""
