"""The reason why ``%pte --frames`` adds nothing to entries, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic import walkers

if TYPE_CHECKING:
    import pandas as pd


def why_nothing(frame: pd.DataFrame) -> str:
    """Return why the columns of page frames are empty, in one line; an empty text if they are not.

    Args:
        frame: The result of `PteFrame.frames`, for a walk.

    """
    if frame["map_count"].notna().any():
        return ""
    if frame["pfn"].notna().any():
        return "--frames adds no counts and flags: /proc/kpagecount and /proc/kpageflags are open to root only"
    if not frame["state"].isin(["present", "protnone"]).any():
        return "--frames adds no page frames: no entry here maps one"
    kinds = {kind.name: kind for kind in walkers.KINDS}
    return f"--frames adds no page frames: {kinds[str(frame['walker'].iloc[0])].why_no_frames()}"
