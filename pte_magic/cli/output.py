"""The output of a frame: as text, as JSON, as CSV, or into a Parquet file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pandas as pd

from pte_magic.api import json_lines
from pte_magic.cli import terminal
from pte_magic.errors import MissingPackageError, ResourceError
from pte_magic.errors.escapes import visible

if TYPE_CHECKING:
    import argparse


def give(frame: pd.DataFrame, given: argparse.Namespace) -> None:
    """Give a frame out, as the options of a command say.

    Raises:
        ResourceError: It cannot be written.
        MissingPackageError: Parquet needs pyarrow.

    """
    has_index = any(name is not None for name in frame.index.names)
    if given.json:
        for line in json_lines.lines(frame):
            terminal.write(f"{line}\n")
    elif given.csv:
        terminal.write(frame.to_csv(index=has_index))
    elif given.parquet is not None:
        _write(frame, given.parquet, has_index=has_index)
    else:
        with pd.option_context("display.max_rows", None if given.all else pd.get_option("display.max_rows")):
            terminal.show(frame)


def _write(frame: pd.DataFrame, path: str, *, has_index: bool) -> None:
    try:
        frame.to_parquet(path, index=has_index or None)
    except ImportError as error:
        raise MissingPackageError from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else " ".join(str(error).split())  # pyarrow has words of its own
        message = f"{visible(path)} cannot be written: {why}; name a file that you may write to"
        raise ResourceError(message) from error


def no_text_only(given: argparse.Namespace, what: str) -> None:
    """Refuse a line that asks for data of a result that is only a text."""
    for name in ("json", "csv", "parquet"):
        if getattr(given, name):
            given.parser.error(f"--{name} does not go with {what}, which is a text; leave one of them out")
