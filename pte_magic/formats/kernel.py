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

# What is among the features in `Kernel.told`.
_MASK, _HIDDEN = "encryption_mask=", "frames_hidden"
_FEWEST = 2  # levels of page tables


@dataclass(frozen=True, slots=True, eq=False)  # by identity: plans to decode are kept by kernel
class Kernel:
    """What one kernel does with the bits of its entries; needed to decode them. `known` makes one.

    Attributes:
        format: The format of its entries.
        levels: How many levels of page tables it uses.
        features: Of `features.FEATURES`, those that it has.
        swap: What its types of swap entries mean.
        address_bits: How the bits for an address of its entries are to be read.

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
        """Bits of an entry for a page that may belong to a physical address; of x86-64 12 to 51, without the C-bit."""
        return frame_mask(self.format, Shape.PAGE) & ~self.encryption_mask

    @property
    def shifts(self) -> dict[str, int]:
        """By level in use, top down, how many bits of an address lie below what an entry of it selects."""
        return geometry.shifts(self.format.name, self.levels)

    def shift(self, level: str) -> int:
        """Return how many bits of an address lie below what an entry of a level selects, also of one not in use."""
        return (geometry.shifts(self.format.name, len(self.format.levels)) | self.shifts)[level]

    @property
    def words(self) -> str:
        """Format, levels and features in one line, from which `of_words` makes it again."""
        return _words(self)

    @property
    def told(self) -> str:
        """`words`, and what else an entry of it needs to be decoded; `of_told` makes it again. Each row has this."""
        return _told(self)

    def also(self, address_bits: AddressBits) -> Kernel:
        """Return the kernel that does the same with bits, whose entries have that mask, too, or lack their frames."""
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
    """Return the fields that entries of `kernel` have: those whose feature it has, the C-bit where it lies."""
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
    """Return what the running kernel does with the bits; looked up once."""
    return known(hardware.encoding(), hardware.levels(), look.running(), address_bits)


def known(encoding: str, levels: int, features: frozenset[str], address_bits: AddressBits = PLAIN) -> Kernel:
    """Return what a kernel with these `features.FEATURES`, format and levels of page tables does with the bits.

    There is one object for each, so that what follows from it is found out once.

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
    """Return the kernel of which a row's ``format`` tells: see `Kernel.told`.

    Raises:
        TargetError: It tells of none, or of a format, a number of levels or a bit of encryption that there is not.

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
    """Return what a kernel of another machine does, if it is configured as distributions do.

    Raises:
        TargetError: There is no such format.

    """
    name = registry.of(encoding).name
    levels = geometry.GEOMETRIES[name].levels
    return known(name, levels, look.of_release(name, release), address_bits)


def encryption_bit(encoding: str, given: object) -> int:
    """Return the bit that somebody says entries of a format say by that memory is encrypted, in place; 0 for none.

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
    """Return the running kernel, with the bit of memory encryption that walkers find on this machine.

    Args:
        entries: Raw entries of this machine, if there are any: see `memory_encryption.mask`.
        frames_hidden: As of `Kernel`.

    """
    return running(AddressBits(memory_encryption.mask(entries), frames_hidden))


def of_name(encoding: str, release: object, address_bits: AddressBits = PLAIN) -> Kernel:
    """Return what a kernel of another machine does, as far as the name of its release tells.

    Raises:
        TargetError: There is no such format, or no such release is known.

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
    """Return what the kernel that entries come from does with their bits; they are in a frame with these ``attrs``.

    The running one, if the frame does not say: pandas forgets attrs where frames of several kernels are joined.

    Raises:
        TargetError: They say something else: anybody may write into them.

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
        message = f"{which} does not tell how entries are to be read; leave attrs as pte_magic.walk() made them"
        raise TargetError(message) from None
    return running(bits) if "encryption_mask" in attrs else here(frames_hidden=bits.frames_hidden)
