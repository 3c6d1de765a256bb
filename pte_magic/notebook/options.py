"""What the values of the magics' options may be: each is checked by a function that ``argparse`` calls."""

from __future__ import annotations

import argparse
import keyword
import math
import threading


def name(text: str) -> str:
    """Return a name for a variable.

    Raises:
        ArgumentTypeError: It is none.

    """
    if not text.isidentifier() or keyword.iskeyword(text):
        message = f"{text!r} is no name for a variable"
        raise argparse.ArgumentTypeError(message)
    return text


def seconds(text: str) -> float:
    """Return a number of seconds, more than 0.

    Raises:
        ArgumentTypeError: It is none, or longer than Python can wait.

    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < threading.TIMEOUT_MAX:
        message = f"{text!r} is no number of seconds"
        raise argparse.ArgumentTypeError(message)
    return found
