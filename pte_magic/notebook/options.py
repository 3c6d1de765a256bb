"""Types for the values of the magics' options: functions that ``argparse`` calls to check them."""

from __future__ import annotations

import argparse
import keyword
import math
import threading

from pte_magic.errors.arguments import shown


def name(text: str) -> str:
    """Return a name for a variable.

    Raises:
        ArgumentTypeError: It is not.

    """
    if not text.isidentifier() or keyword.iskeyword(text):
        message = f"{shown(text)} is not a name for a variable; type one such as changes"
        raise argparse.ArgumentTypeError(message)
    return text


def count(text: str) -> int:
    """Return a whole number from 1 on.

    Raises:
        ArgumentTypeError: It is not.

    """
    plain = text.replace("_", "").replace(",", "")
    if not (plain.isascii() and plain.isdecimal() and 0 < int(plain) < 1 << 48):
        message = f"{shown(text)} is not a whole number above 0; type one such as 100000"
        raise argparse.ArgumentTypeError(message)
    return int(plain)


def seconds(text: str) -> float:
    """Return a number of seconds, more than 0.

    Raises:
        ArgumentTypeError: It is not, or longer than Python can wait.

    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < threading.TIMEOUT_MAX:
        message = f"{shown(text)} is not a number of seconds; type one above 0, such as 0.5"
        raise argparse.ArgumentTypeError(message)
    return found
