"""`cut`: long texts, shortened for messages."""

from __future__ import annotations


def cut(text: str, most: int, *, in_middle: bool = False) -> str:
    """Return a text; of a longer one, its first characters and an ellipsis.

    Args:
        text: The text.
        most: The number of characters that are kept.
        in_middle: True to keep the beginning and the end, half of the characters each.

    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}…{text[-half:]}" if in_middle else f"{text[:most]}…"
