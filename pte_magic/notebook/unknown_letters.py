"""Words such as ``-t`` in a target: an option that does not exist, or Python's minus sign before a variable."""

from __future__ import annotations

import builtins
import re
import symtable
from typing import TYPE_CHECKING

from pte_magic.errors import PteMagicError
from pte_magic.linux.address_space import own
from pte_magic.notebook.expressions import compiles, short
from pte_magic.notebook.line_target import split_pid
from pte_magic.notebook.typed_words import split, words
from pte_magic.targets import target as targets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any

_LETTERS = re.compile(r"(-([^\W\d]\w*))(?:=.*)?", re.DOTALL)
_SINGLE = 2  # letters of an option such as -t


def in_target(parser: argparse.ArgumentParser, target: str, names: Mapping[str, Any]) -> str:
    """Return the message for the first word that looks like an option and is not Python; empty if there is none.

    Such a word is a part of a name only in names of mapped files. Nothing is evaluated.

    Args:
        parser: The magic's.
        target: The typed target, in which options are not looked for any more.
        names: Python's variables.

    """
    if not any(_LETTERS.fullmatch(word.text) for word in words(target)) or _is_place(target):
        return ""
    for part in split(target):
        pid, name = split_pid(part, names)
        undefined = _undefined(name, names)
        for word in words(part):
            found = _LETTERS.fullmatch(word.text)
            if not found:
                continue
            if word.start < len(pid or ""):  # a pid is not a difference, or negative
                return _message(parser, found[1])
            if undefined is None:
                is_option = word.start == 0 or not _is_defined(found[2], names)
            else:
                is_option = found[2] in undefined
            if is_option and not _is_place(name):
                return _message(parser, found[1])
    return ""


def in_arguments(parser: argparse.ArgumentParser, arguments: str) -> str:
    """Return the message for the first word that looks like an option among a script's arguments; else empty."""
    found = next(filter(None, (_LETTERS.fullmatch(word.text) for word in words(arguments))), None)
    return _message(parser, found[1], "-- before the script's arguments") if found else ""


def at_start(parser: argparse.ArgumentParser, word: str) -> str:
    """Return the message for a word that begins what is not Python, if it looks like an option; else empty."""
    found = _LETTERS.fullmatch(word)
    return _message(parser, found[1]) if found else ""


def _message(parser: argparse.ArgumentParser, word: str, otherwise: str = "") -> str:
    if word in parser._option_string_actions:  # noqa: SLF001  (there is no public way to ask for them)
        return f"{word} stands within the target; options come first, then the target"
    of = f"%{parser.prog}"
    options = [action.option_strings[-1] for action in parser._actions if action.option_strings]  # noqa: SLF001  (as above)
    near = [option for option in options if len(word) == _SINGLE and option[2:3] == word[1]]
    meant = "".join(f"{one}, or " for one in (" or ".join(near), otherwise) if one)
    return f"{short(word)[1:-1]} is not an option of {of}; type {meant}{of}? for its options"


def _is_place(text: str) -> bool:
    """Tell whether a text is an address range, or the name of a region of this process."""
    try:
        return targets.parse(text, own()) is not None
    except PteMagicError:  # a range, such as one whose end lies before its start
        return True


def _undefined(text: str, names: Mapping[str, Any]) -> set[str] | None:
    """Return the names in a Python expression that are not defined; None if the text is not one."""
    if not compiles(text):
        return None
    symbols = symtable.symtable(text.strip(), "%pte", "eval").get_symbols()
    return {symbol.get_name() for symbol in symbols if not _is_defined(symbol.get_name(), names)}


def _is_defined(name: str, names: Mapping[str, Any]) -> bool:
    return name in names or hasattr(builtins, name)
