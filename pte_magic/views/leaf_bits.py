"""The bits below the table of one address: those of its last entry, live where the model of the picture is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.linux.importing import importing
from pte_magic.views import entry_picture
from pte_magic.views.markup import framed

if TYPE_CHECKING:
    import pandas as pd

    from pte_magic.formats.describe import Description
    from pte_magic.formats.kernel import Kernel
    from pte_magic.views.bits import BitField

_KEPT = "_leaf_bits"  # the picture of a frame that was shown before, and what it is of


def html(frame: pd.DataFrame, leaf: Description, kernel: Kernel) -> str:
    """Return the bits of a frame's last entry as HTML, in whose place the live picture is shown.

    A model lives as long as Python: a frame that is shown again has the same one.
    """
    with importing():
        from pte_magic.views.bits import BitField  # noqa: PLC0415  (widgets take as long to import as all else)

    shows = (leaf.entry, leaf.level)
    kept: tuple[object, BitField] | None = frame.__dict__.get(_KEPT)
    if kept is None or kept[0] != shows:
        kept = (shows, BitField(*shows, kernel=kernel))
        object.__setattr__(frame, _KEPT, kept)  # pandas would warn that this is not a column
    return kept[1].placed(framed(entry_picture.html(leaf), "bits"))
