"""`Kernel`: the meaning of bits in the entries of one kernel: their format, and the kernel's features."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import index, shown
from pte_magic.formats import features as look
from pte_magic.formats import registry
from pte_magic.formats.field import Shape
from pte_magic.formats.format import Format, frame_mask
from pte_magic.formats.releases import NEWEST, named
from pte_magic.formats.swap_types import SwapTypes, swap_types
from pte_magic.linux import geometry, hardware, memory_encryption
from pte_magic.linux.address_bits import PLAIN, AddressBits

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pte_magic.formats.field import Field
    from pte_magic.formats.releases import Release

# A word among the features in `Kernel.told`.
_MASK, _HIDDEN = "encryption_mask=", "frames_hidden"
_FEWEST = 2  # levels of page tables


@dataclass(frozen=True, slots=True, eq=False)  # by identity: plans to decode are kept by kernel
class Kernel:
    """The meaning of bits in one kernel's entries, which decoding needs. `known` makes one.

    Attributes:
        format: The format of its entries.
        levels: The number of levels of its page tables.
        features: Its features, of `features.FEATURES`.
        swap: The types of its swap entries.
        address_bits: How to read the address bits of its entries.

    """

    format: Format
    levels: int
    features: frozenset[str]
    swap: SwapTypes
    address_bits: AddressBits = PLAIN

    @property
    def encryption_mask(self) -> int:
        """The bit that says that memory is encrypted (C-bit), or 0."""
        return self.address_bits.encryption_mask

    @property
    def frames_hidden(self) -> bool:
        """Whether its entries come without page frame numbers and swap locations."""
        return self.address_bits.frames_hidden

    @property
    def physical_mask(self) -> int:
        """Bits of an entry for a page that may belong to a physical address; on x86-64 12 to 51, without the C-bit."""
        return frame_mask(self.format, Shape.PAGE) & ~self.encryption_mask

    @property
    def shifts(self) -> dict[str, int]:
        """The number of address bits below an entry's index, for each level in use, top down."""
        return geometry.shifts(self.format.name, self.levels)

    def shift(self, level: str) -> int:
        """Return the number of address bits below the index of a level, also of one not in use."""
        return (geometry.shifts(self.format.name, len(self.format.levels)) | self.shifts)[level]

    @property
    def words(self) -> str:
        """Format, levels and features in one line; `of_words` reads it."""
        return _words(self)

    @property
    def told(self) -> str:
        """`words`, and all else that decoding an entry needs; `of_told` reads it. Each row has this text."""
        return _told(self)

    def also(self, address_bits: AddressBits) -> Kernel:
        """Return the same kernel with this encryption mask and these hidden page frames, too."""
        if address_bits in (self.address_bits, PLAIN):
            return self
        both = AddressBits(
            self.encryption_mask or address_bits.encryption_mask, self.frames_hidden or address_bits.frames_hidden
        )
        return known(self.format.name, self.levels, self.features, both)


@functools.cache
def _told(kernel: Kernel) -> str:
    mask = [f"{_MASK}{kernel.encryption_mask:#x}"] if kernel.encryption_mask else []
    return " ".join([kernel.words, *mask, *([_HIDDEN] if kernel.frames_hidden else [])])


@functools.cache
def _words(kernel: Kernel) -> str:
    return " ".join([kernel.format.name, str(kernel.levels), *sorted(kernel.features)])


@functools.cache
def fields(kernel: Kernel) -> tuple[Field, ...]:
    """Return the fields of `kernel`'s entries: those whose feature it has, with the C-bit in its place."""
    found = []
    for field in kernel.format.fields:
        if field.needs == "encryption":
            if kernel.encryption_mask:
                found.append(dataclasses.replace(field, low=kernel.encryption_mask.bit_length() - 1))
        elif field.address is not None and kernel.encryption_mask:  # no address has bits above the C-bit
            found.append(dataclasses.replace(field, width=kernel.encryption_mask.bit_length() - 1 - field.low))
        elif (field.needs is None or field.needs in kernel.features) and field.unless not in kernel.features:
            found.append(field)
    return tuple(found)


@functools.cache
def running(address_bits: AddressBits = PLAIN) -> Kernel:
    """Return the running kernel; looked up once."""
    return known(hardware.encoding(), hardware.levels(), look.running(), address_bits)


def known(encoding: str, levels: int, features: frozenset[str], address_bits: AddressBits = PLAIN) -> Kernel:
    """Return the kernel with these `features.FEATURES`, format and levels of page tables.

    There is one object for each, so that plans and tables are made only once.

    Raises:
        TargetError: There is no such format.

    """
    return _made(encoding, levels, features, address_bits)


@functools.cache
def _made(*what: Any) -> Kernel:
    encoding, levels, features, address_bits = what
    found = registry.of(encoding)
    words = features | {"five_levels"} if levels == hardware.FIVE_LEVELS else features
    bits = next(bits for feature, bits in found.physmem_bits if feature is None or feature in words)
    types = swap_types(features, bits - found.page_shift)
    return Kernel(found, levels, features, types, address_bits)


@functools.cache
def of_words(words: str, address_bits: AddressBits = PLAIN) -> Kernel:
    """Return the kernel whose `Kernel.words` these are; raises as `of_told`."""
    return of_told(words).also(address_bits)


@functools.cache
def of_told(told: str) -> Kernel:
    """Return the kernel that a row's ``format`` names: see `Kernel.told`.

    Raises:
        TargetError: It names no kernel: the format, the number of levels or the bit of encryption does not exist.

    """
    try:
        encoding, levels, *words = told.split()
        (mask,) = [int(word.removeprefix(_MASK), 16) for word in words if word.startswith(_MASK)] or [0]
        features = frozenset(word for word in words if word != _HIDDEN and not word.startswith(_MASK))
        number = {str(depth): depth for depth in depths(encoding)}[levels]
        return known(
            encoding, number, features, AddressBits(encryption_bit(encoding, mask), frames_hidden=_HIDDEN in words)
        )
    except (ValueError, AttributeError, LookupError):
        message = f"{told!r:.60} is not a format of entries; leave the column format as pte_magic.walk() made it"
        raise TargetError(message) from None


def depths(encoding: str) -> range:
    """Return how many levels the page tables of a format may have."""
    return range(_FEWEST, geometry.GEOMETRIES[encoding].most + 1)


@functools.cache
def of_release(encoding: str, release: Release = NEWEST, address_bits: AddressBits = PLAIN) -> Kernel:
    """Return a kernel of another host, in the configuration of distributions.

    Raises:
        TargetError: There is no such format.

    """
    name = registry.of(encoding).name
    levels = geometry.GEOMETRIES[name].levels
    return known(name, levels, look.of_release(name, release), address_bits)


def encryption_bit(encoding: str, given: object) -> int:
    """Return the bit of memory encryption that a user named for entries of a format, in place; 0 for none.

    Raises:
        TargetError: It is not one bit of an address, or entries of that format have no such bit.

    """
    bits = frame_mask(registry.of(encoding), Shape.PAGE)
    bit = index(given)
    if bit is not None and (not bit or (encoding == "x86_64" and bit & bits == bit and bit.bit_count() == 1)):
        return bit
    message = f"encryption_mask {shown(given)} is not a bit of an address in an entry of x86_64; type such as 1 << 51"
    raise TargetError(message)


def here(entries: NDArray[np.uint64] | None = None, *, frames_hidden: bool = False) -> Kernel:
    """Return the running kernel, with the bit of memory encryption that walkers find on this host.

    Args:
        entries: Raw entries of this host, if there are any: see `memory_encryption.mask`.
        frames_hidden: As for `Kernel`.

    """
    return running(AddressBits(memory_encryption.mask(entries), frames_hidden))


def of_name(encoding: str, release: object, address_bits: AddressBits = PLAIN) -> Kernel:
    """Return a kernel of another host, by the name of its release.

    Raises:
        TargetError: The format or release is not known.

    """
    name = registry.of(encoding).name
    return known(name, geometry.GEOMETRIES[name].levels, look.of_named(name, named(release)), address_bits)


def reading(encoding: str, address_bits: AddressBits = PLAIN) -> Kernel:
    """Return the running kernel if its entries are in a format, or words of pagemap; else the newest whose are."""
    here = running(address_bits)
    if encoding in {here.format.name, "pagemap"}:
        return here
    return of_release(encoding, NEWEST, address_bits)


def of_frame(attrs: Mapping[Any, Any]) -> Kernel:
    """Return the kernel of entries in a frame with these ``attrs``.

    The running one, if the frame does not say: pandas loses attrs where frames of several kernels are joined.

    Raises:
        TargetError: They have another content: users may write to them.

    """
    words = attrs.get("format")
    try:
        encoding = hardware.encoding() if words is None else words.split()[0]
        mask = encryption_bit(encoding, attrs.get("encryption_mask", 0))
        bits = AddressBits(mask, bool(attrs.get("frames_hidden", False)))
        if words is not None:
            return of_words(words, bits)
    except (ValueError, TypeError, AttributeError, LookupError, TargetError):
        told = {name: attrs[name] for name in ("format", "encryption_mask", "frames_hidden") if name in attrs}
        which = ", ".join(f"attrs[{name!r}] = {shown(value)}" for name, value in told.items())
        message = f"{which} does not say how to read entries; leave attrs as pte_magic.walk() made them"
        raise TargetError(message) from None
    return running(bits) if "encryption_mask" in attrs else here(frames_hidden=bits.frames_hidden)
