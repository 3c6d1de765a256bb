"""Which facts a DataFrame shows here: raw entries and page frames are two separate facts; a lesson asks for one.

Root sees both, an ordinary user neither. With a helper, an ordinary user sees raw entries, and page frames only as a
member of the group that the administrator named. Where eBPF does not work, root sees only page frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SOMEWHERE = ("present", "protnone", "swap")
"""States of pages that have a location: in a page frame, or in swap space."""


def has_raw_entries(frame: pd.DataFrame) -> bool:
    """Tell whether a DataFrame has all raw entries, but perhaps without the page frames in them."""
    return bool(frame["entry"].notna().all())


def has_page_frames(frame: pd.DataFrame) -> bool:
    """Tell whether a DataFrame has the location of each page: its page frame, or its swap location.

    The kernel shows both or neither. False if no page has a location.
    """
    there = frame[frame["state"].isin(_SOMEWHERE)]
    return bool(len(there) and (there["pfn"].notna() | there["swap_offset"].notna()).all())


def say_what_is_visible(frame: pd.DataFrame) -> None:
    """Print the walker, and what it could not see, of a DataFrame in which some page is present."""
    missing = [
        what
        for what, there in (("raw entries", has_raw_entries(frame)), ("page frames", has_page_frames(frame)))
        if not there
    ]
    told = f" - no {' and no '.join(missing)}; pte_magic.doctor() says what to type to see them" if missing else ""
    print(f"walker: {frame['walker'].iloc[0]}{told}")
