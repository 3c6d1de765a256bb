"""What a frame shows here: raw entries and page frames are two facts, and a lesson asks for the one that it is about.

Root sees both, an ordinary user none. By a helper of the administrator's he sees raw entries, and page frames only if
he is in the group that was named for them. Where eBPF does not work, root sees page frames only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SOMEWHERE = ("present", "protnone", "swap")
"""States of pages that are somewhere: in a page frame, or in the swap space."""


def has_raw_entries(frame: pd.DataFrame) -> bool:
    """Tell whether a frame has all its raw entries, bit by bit, but maybe without the page frames in them."""
    return bool(frame["entry"].notna().all())


def has_page_frames(frame: pd.DataFrame) -> bool:
    """Tell whether a frame says where its pages are: in which page frame, or at which place of the swap space.

    The kernel tells either both or none of the two. A frame in which no page is anywhere does not say it.
    """
    there = frame[frame["state"].isin(_SOMEWHERE)]
    return bool(len(there) and (there["pfn"].notna() | there["swap_offset"].notna()).all())


def say_what_is_visible(frame: pd.DataFrame) -> None:
    """Print who read a frame's entries, and what it could not see; ask it of a frame in which some page is present."""
    missing = [
        what
        for what, there in (("raw entries", has_raw_entries(frame)), ("page frames", has_page_frames(frame)))
        if not there
    ]
    told = f" - no {' and no '.join(missing)}; pte_magic.doctor() says what to type to see them" if missing else ""
    print(f"walker: {frame['walker'].iloc[0]}{told}")
