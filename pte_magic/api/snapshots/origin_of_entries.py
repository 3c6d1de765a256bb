"""`Facts`: the origin of a process' entries, kept with them as JSON, to decode them later and on another host."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pte_magic import walkers
from pte_magic.api.snapshots.checks import must
from pte_magic.errors import TargetError
from pte_magic.formats import kernel as kernels
from pte_magic.formats.features import FEATURES
from pte_magic.formats.registry import FORMATS
from pte_magic.linux import hardware
from pte_magic.linux.address_bits import AddressBits

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel
    from pte_magic.walkers.entries import Entries

KEY = b"pte_magic"
"""The name of the facts in the metadata of a Parquet file's schema."""
VERSION = 3
"""Of the layout of a file; one of version 1 is of x86-64, and says no format."""
CHECKED = 3
"""Since this version there are checksums: see `checks`."""
_WORDS = ("time", "host", "release", "machine", "walker", "encoding", "format")
_NUMBERS = ("version", "pid", "levels", "encryption_mask")


def _is_bit(mask: int, encoding: str) -> bool:
    try:
        return kernels.encryption_bit(encoding, mask) == mask
    except TargetError:
        return False


@dataclass(frozen=True, slots=True)
class Facts:
    """The origin of entries.

    Attributes:
        time: When they were read, in UTC, ISO 8601.
        host: Name of the host.
        pid: The process, in the pid namespace of the snapshot.
        release: Of the kernel, as ``uname -r`` says.
        machine: As ``uname -m`` says.
        walker: The walker that read them.
        encoding: Their format, as in `Entries`.
        levels: Of page tables, 2 to 5.
        features: The features of the kernel, of `formats.features.FEATURES`.
        address_bits: As for `Entries`; in the file, `encryption_mask` and `frames_hidden` stand for them.
        version: Of the layout of the file.
        format: Of the host's entries, also where the encoding is that of pagemap.

    """

    time: str
    host: str
    pid: int
    release: str
    machine: str
    walker: str
    encoding: str
    levels: int
    features: tuple[str, ...]
    address_bits: AddressBits
    version: int = VERSION
    format: str = "x86_64"

    @classmethod
    def of(cls, found: Entries, pid: int) -> Self:
        """Return the facts of entries that were just read on this host."""
        return cls(
            datetime.now(UTC).isoformat(),
            hardware.host(),
            pid,
            platform.release(),
            platform.machine(),
            found.walker,
            found.encoding,
            hardware.levels(),
            tuple(sorted(kernels.running().features)),
            found.address_bits,
            format=hardware.encoding(),
        )

    @classmethod
    def read(cls, text: bytes, file: object) -> Self:
        """Return those that a file has in its metadata.

        Raises:
            TargetError: They are of another version.
            ValueError: They are not what `metadata` makes.

        """
        told = json.loads(text)
        must(isinstance(told, dict), "it does not say where its entries come from")
        told = {"format": "x86_64", **told}
        must(
            set(told) == {*cls.__slots__, *AddressBits._fields} - {"address_bits"},
            "it does not say where its entries come from",
        )
        for names, kind in ((_WORDS, str), (_NUMBERS, int), (("frames_hidden",), bool), (("features",), list)):
            for name in names:
                must(type(told[name]) is kind, f"{name} is {told[name]!r}")
        if told["version"] > VERSION:
            message = f"{file} is of version {told['version']} of the layout, this package reads {VERSION}; upgrade it"
            raise TargetError(message)
        must(told["version"] > 0 and told["pid"] > 0, "there are no such numbers")
        must(all(isinstance(name, str) for name in told["features"]), "features are not named")
        must(set(told["features"]) <= FEATURES.keys(), "its kernel has features that are not known")
        must(told["format"] in FORMATS and told["levels"] in kernels.depths(told["format"]), "there is no such format")
        must(told["encoding"] in (told["format"], "pagemap"), f"entries of {told['format']} are not {told['encoding']}")
        must(_is_bit(told["encryption_mask"], told["format"]), "no entry has such a bit of memory encryption")
        must(told["walker"] in walkers.NAMES, f"there is no walker {told['walker']!r}")
        datetime.fromisoformat(told["time"])
        bits = AddressBits(*(told.pop(name) for name in AddressBits._fields))
        return cls(**{**told, "features": tuple(told["features"]), "address_bits": bits})

    def metadata(self) -> dict[bytes, bytes]:
        """Return them as metadata of a schema."""
        told = {name: getattr(self, name) for name in self.__slots__}
        told |= told.pop("address_bits")._asdict()
        return {KEY: json.dumps(told).encode()}

    @property
    def kernel(self) -> Kernel:
        """The kernel that the entries come from."""
        features = frozenset(self.features)
        return kernels.known(self.format, self.levels, features, self.address_bits)
