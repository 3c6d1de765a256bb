"""`Picture`, the base of all that can be saved as a picture, and its file: SVG, or PNG made of it."""

from __future__ import annotations

import secrets
import shutil
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.errors import MissingPackageError, TargetError, said
from pte_magic.errors.arguments import shown

if TYPE_CHECKING:
    import os

_ZOOM = 2  # for screens with small pixels


class Picture(ABC):
    """A picture that can be saved."""

    @abstractmethod
    def svg(self) -> str:
        """Return the picture as an SVG document, with its words."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the picture as it is now, light, with its words; a file of this name is overwritten.

        Args:
            path: Its name ends in ``.svg`` or ``.png``; PNG has two pixels for one of the SVG, and needs resvg-py.

        Raises:
            TargetError: The name ends in something else, or the file cannot be written; what it was before is still
                there.
            MissingPackageError: PNG is asked for, and resvg-py is not installed.

        """
        try:
            file = Path(path)
        except TypeError:
            file = Path()
        suffix = file.suffix.lower()
        if suffix not in {".svg", ".png"}:
            message = f"cannot save a picture as {shown(path)}: type a name that ends in .svg or .png"
            raise TargetError(message)
        svg = self.svg()
        picture = svg.encode() if suffix == ".svg" else _png(svg)
        try:
            _replace(file.resolve(), picture)
        except (OSError, ValueError) as error:  # ValueError: a character that is in no name
            why = (isinstance(error, OSError) and error.strerror) or said(error)
            message = f"cannot save a picture as {shown(str(file))}: {why}; type the name of a file that can be written"
            raise TargetError(message) from error


def _replace(file: Path, picture: bytes) -> None:
    """Write a file, which has its name when it is complete."""
    part = file.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with part.open("xb") as made:
            made.write(picture)
        if file.exists():
            shutil.copymode(file, part)
        part.replace(file)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _png(svg: str) -> bytes:
    try:
        import resvg_py  # noqa: PLC0415  (it is optional)
    except ImportError as error:
        package, extra = "resvg-py", "png"
        raise MissingPackageError(package, extra) from error
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=_ZOOM))
