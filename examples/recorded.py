"""DataFrames of the tutorials, recorded as root: for users without raw entries or page frames, as on mybinder.org.

Each is a Parquet file in ``data/``, with the kernel and the date in its metadata. ``make examples`` writes them.
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
"""Environment variable: the directory for recorded DataFrames. Without it, nothing is recorded."""


def recorded(name: str, frame: pd.DataFrame | None, *, complete: bool = True) -> None:
    """Show the recorded DataFrame of a step, labelled as recorded, if the one of this host is not complete.

    Args:
        name: Name of the file in ``data/``, without its suffix.
        frame: The result of the step on this host. If it has all raw entries and page frames, it is recorded if the
            environment variable is set. None if the step is not possible here.
        complete: Whether `frame` shows the topic of the step; False, for example, where this host has no swap space,
            or where the step is about page frames and these are hidden.

    Raises:
        FileNotFoundError: The file does not exist.

    """
    if complete and frame is not None and has_raw_entries(frame):
        of_a_script = "state" not in frame.columns
        if (to := os.environ.get(TO)) and (of_a_script or has_page_frames(frame)):
            record(frame, Path(to) / f"{name}.parquet")
        return
    try:
        found = load(DATA / f"{name}.parquet")
    except ImportError:
        print("To see the recorded DataFrame of this step, install pyarrow: pip install pyarrow")
        return
    print(f"Recorded on Linux {found.attrs['kernel']} on {found.attrs['date']}, not from this machine:")
    display(found)


def record(frame: pd.DataFrame, path: Path) -> None:
    """Write a DataFrame to a file, with the kernel's release and today's date, but without the name of the host."""
    path.parent.mkdir(exist_ok=True)
    kept = frame.drop(columns="host", errors="ignore")
    release = re.match(r"[\d.]*\d", platform.release())
    kept.attrs |= {"kernel": release[0] if release else "?", "date": datetime.now(UTC).date().isoformat()}
    kept.to_parquet(path, engine="pyarrow", compression="zstd")


def load(path: Path) -> pd.DataFrame:
    """Return a recorded DataFrame with its original dtypes; its `attrs` have ``kernel`` and ``date``.

    The result of a script, which no walker made, is an ordinary DataFrame.

    Raises:
        FileNotFoundError: The file does not exist.
        ImportError: pyarrow is not installed.

    """
    found = pd.read_parquet(path, engine="pyarrow")
    frame = PteFrame(found) if "walker" in found.columns else found
    frame.attrs = found.attrs
    return frame
