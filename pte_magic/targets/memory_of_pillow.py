"""Memory of Pillow's images: what they export by Arrow's protocol, without a copy, since Pillow 11.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name
from pte_magic.targets import arrow_exports, memory_in_attributes

if TYPE_CHECKING:
    from pte_magic.targets.blocks import Blocks

_ARROW = "__arrow_c_array__"


def is_one(kind: Any) -> bool:
    """Tell whether a class is, or derives from, Pillow's image."""
    return memory_in_attributes.is_a(kind, "PIL.Image", "Image")


def look(thing: Any, found: Blocks) -> bool:
    """Add the addresses of an image's pixels; false if it is not an image.

    The image itself is not asked: it would read its file first.

    Raises:
        TargetError: Pillow does not tell them, or pyarrow is not installed.

    """
    if not is_one(type(thing)):
        return False
    pixels = memory_in_attributes.own(thing, "_im")
    if pixels is None or type(pixels).__name__ == "DeferredError":
        raise _untold(thing, "are not in memory: it was not read from its file yet, or was closed")
    if memory_in_attributes.own(thing, "_readonly") or memory_in_attributes.own(thing, "readonly"):
        # Not asked, either: Pillow 11 follows a pointer there that such an image does not have.
        raise _untold(thing, "belong to the buffer or file that it was made of")
    if memory_in_attributes.of_class(type(pixels), _ARROW) is None:
        raise _untold(thing, "are where this Pillow does not tell; 11.2 does")
    try:
        arrow_exports.add(_Pixels(pixels), found)
    except ValueError:
        raise _untold(thing, "are in several blocks of 16 MiB, of which Pillow does not tell where they are") from None
    return True


class _Pixels:
    """The pixels of an image, as an object that exports itself: alone they give both parts of it one by one."""

    def __init__(self, pixels: Any) -> None:
        self._pixels = pixels

    def __arrow_c_array__(self, _: object = None) -> tuple[object, object]:
        return self._pixels.__arrow_c_schema__(), self._pixels.__arrow_c_array__()


def _untold(thing: Any, why: str) -> TargetError:
    return TargetError(f"the pixels of the {class_name(thing)} {why}")
