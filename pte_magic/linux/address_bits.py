"""The reading of the address bits of entries: memory encryption, and hidden page frames. It goes with the entries."""

from __future__ import annotations

from typing import NamedTuple


class AddressBits(NamedTuple):
    """How to read the address bits in entries.

    Attributes:
        encryption_mask: The bit of memory encryption (AMD's C-bit), or 0.
        frames_hidden: True if page frame numbers and swap locations were taken out of them: see `formats.hidden`.

    """

    encryption_mask: int = 0
    frames_hidden: bool = False


PLAIN = AddressBits()
"""Entries whose address bits hold an address, and nothing else."""
