"""Frames of the tutorials that were recorded as root, for who sees no raw bits or no page frames, as on mybinder.org.

They are in ``data/``, a Parquet file each, with the kernel and the date in its metadata. ``make examples`` writes them.
"""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from IPython.display import display
from visible import has_page_frames, has_raw_entries

from pte_magic import PteFrame

DATA = Path(__file__).resolve().parent / "data"
TO = "PTE_MAGIC_RECORD_TO"
"""Environment variable: the directory where frames with raw entries are to be recorded. Without it none is."""


def recorded(name: str, frame: pd.DataFrame | None, *, complete: bool = True) -> None:
    """Show the recorded frame of a step, labelled as such, if this machine's own one lacks what it is about.

    Args:
        name: Of the file in ``data/``, without its suffix.
        frame: What the step gave here. If it has all raw entries, and says which page frames they
            lead to, it is recorded where that was asked for. None if the step is not possible here.
        complete: Whether it has what the step is about; False where this machine has no swap space, for example, or
            where page frames are hidden and the step is about these.

    Raises:
        FileNotFoundError: There is no such file.

    """
    if complete and frame is not None and has_raw_entries(frame):
        of_a_script = "state" not in frame.columns
        if (to := os.environ.get(TO)) and (of_a_script or has_page_frames(frame)):
            record(frame, Path(to) / f"{name}.parquet")
        return
    try:
        found = load(DATA / f"{name}.parquet")
    except ImportError:
        print("The frame that was recorded of this step can be shown with pyarrow: pip install pyarrow")
        return
    print(f"Recorded on Linux {found.attrs['kernel']} on {found.attrs['date']}, not from this machine:")
    display(found)


def record(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame to a file, with the kernel's release and today's date; the machine's name is nobody's business."""
    path.parent.mkdir(exist_ok=True)
    kept = frame.drop(columns="host", errors="ignore")
    release = re.match(r"[\d.]*\d", platform.release())
    kept.attrs |= {"kernel": release[0] if release else "?", "date": datetime.now(UTC).date().isoformat()}
    kept.to_parquet(path, engine="pyarrow", compression="zstd")


def load(path: Path) -> pd.DataFrame:
    """Return a frame that was recorded: its columns have the dtypes that they had, its `attrs` ``kernel`` and ``date``.

    What no walker made, but a script that a notebook ran, is a DataFrame as any other.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: pyarrow is not installed.

    """
    found = pd.read_parquet(path, engine="pyarrow")
    frame = PteFrame(found) if "walker" in found.columns else found
    frame.attrs = found.attrs
    return frame
