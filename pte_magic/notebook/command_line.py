"""The parser of a magic's line: options come first, and the rest is a target, which may be any Python.

``argparse`` only checks the values of options: it splits lines as a shell does, which would cut ``b[:, -1]`` in two.
"""

from __future__ import annotations

import ast
import builtins
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.error import UsageError
from IPython.utils.text import DollarFormatter

from pte_magic.errors import PteMagicError
from pte_magic.notebook.expressions import compiles, evaluate, names_in, parsed, short
from pte_magic.notebook.typed_words import LONGEST_PID, Word, outside_quotes, plain, split, words
from pte_magic.text.suggestions import did_you_mean

if TYPE_CHECKING:
    import argparse

_LONG = re.compile(r"(--[^\W\d][\w-]*)(?:=(.*))?", re.DOTALL)
_SHORT = re.compile(r"-[^\W\d_]")
_LETTERS = re.compile(r"(-([^\W\d]\w*))(?:=.*)?", re.DOTALL)
_GLUED = re.compile(r"=.+|[.\w]+")  # a value without a space before it; -d["x"] is Python
_DASHES = "\u2013\u2014\u2212"  # what text processors make of - and --


class Line(NamedTuple):
    """A parsed line.

    Attributes:
        options: The values, from ``argparse``.
        typed: The options that were typed, written out, in order.
        target: The rest, without a comment.
        is_silent: True with a ``;`` at the end.

    """

    options: argparse.Namespace
    typed: list[str]
    target: str
    is_silent: bool


def read(magic: Any, line: str, names: dict[str, Any], *, is_python: bool = True) -> Line:
    """Parse a line.

    Options may also come last if they are clear: written out, or one letter that is not a variable to subtract. ``--``
    ends them.

    Args:
        magic: The method with ``magic_arguments``.
        line: The text after the magic's name.
        names: Python's variables.
        is_python: True if the rest of the line, and values of options, are Python.

    Raises:
        UsageError: An option is wrong.

    """
    line, is_silent = plain(line)
    reader = _Reader(magic.parser, names, is_python=is_python)
    typed = words(line)
    rest = typed[reader.take(typed, 0) :]
    target = line[rest[0].start :] if rest else ""
    if target.startswith("--") and rest[0].text == "--":
        target = target[2:].lstrip()
    elif rest:
        last = reader.take_last(rest, target)
        target = line[rest[0].start : rest[last - 1].end]
    if is_python:
        target = expanded(target, names)
    return Line(reader.parsed(), [_name(action) for action, _ in reader.found], target, is_silent)


def long_options(magic: Any) -> list[str]:
    """Return the options of a magic, written out, in the order of its help."""
    actions = magic.parser._actions  # noqa: SLF001  (there is no public way to ask for them)
    return [_name(action) for action in actions if action.option_strings]


def unknown_letters(magic: Any, target: str, names: dict[str, Any]) -> str:
    """Return the message for a word such as ``-o`` in a failed target that is neither an option nor a variable.

    Empty if there is no such word. Before the target failed, the word could have been Python or the name of a file.
    """
    for word in words(target):
        found = _LETTERS.fullmatch(word.text)
        if found and found[2] not in names and not hasattr(builtins, found[2]):
            if found[1] in magic.parser._option_string_actions:  # noqa: SLF001  (as above)
                return f"{found[1]} stands within the target; options come first, then the target"
            of = f"%{magic.parser.prog}"
            near = [option for option in long_options(magic) if len(found[1]) == 2 and option[2] == found[2]]  # noqa: PLR2004  (-t)
            meant = f"{' or '.join(near)}, or " if near else ""
            return f"{short(found[1])[1:-1]} is not an option of {of}; type {meant}{of}? for its options"
    return ""


def expanded(text: str, names: dict[str, Any]) -> str:
    """Put values into a text as IPython does for ``{expression}`` and ``$name``, but not where it is Python already.

    As a separate word, it stands for the value, not for its text; a set with one item is taken for that, too.
    """
    outside = outside_quotes(text)
    if "$" not in outside and "{" not in outside:
        return text
    parts = split(text)
    found = [" ".join(_placed(word.text, names) for word in words(part)) for part in parts]
    if any(one != " ".join(word.text for word in words(part)) for one, part in zip(found, parts, strict=True)):
        return ", ".join(found)
    if all(map(_makes_sense, parts)):
        return text
    try:
        return DollarFormatter().vformat(text, args=[], kwargs=names)
    except Exception:  # noqa: BLE001  (as in IPython: what cannot be put in stays, and is an error later)
        return text


def _placed(word: str, names: dict[str, Any], *, as_text: bool = False) -> str:
    """Return a word or its replacement: a value that is a text, as if typed; for other values the expression.

    Args:
        word: The typed word.
        names: Python's variables.
        as_text: Turn other values into texts, too.

    """
    if word.startswith("$") and word[1:].replace(".", "a").isidentifier():
        inner = word[1:]
    else:
        tree = parsed(word)
        if not isinstance(tree, ast.Set) or len(tree.elts) > 1 or isinstance(tree.elts[0], ast.Starred):
            return word
        inner = f"({word.strip()[1:-1]})"
    try:
        value = evaluate(inner, names)
    except (PteMagicError, NameError):
        return inner
    return str(value) if as_text or isinstance(value, str) else inner


class _Reader:
    """Takes options out of a line for one magic.

    Attributes:
        found: The options, each with its value if it has one.

    """

    def __init__(self, parser: argparse.ArgumentParser, names: dict[str, Any], *, is_python: bool) -> None:
        self._parser, self._names, self._is_python = parser, names, is_python
        self._actions = parser._option_string_actions  # noqa: SLF001  (there is no public way to ask for them)
        self._long = [option for option in self._actions if option.startswith("--")]
        self.found: list[tuple[argparse.Action, str | None]] = []

    def take(self, line: list[Word], at: int, *, abridged: bool = True) -> int:
        """Take options from a word on, and return the number of the first word that is not one.

        Args:
            line: The words.
            at: Number of the word.
            abridged: Accept ``--sum``, ``-tr`` and ``-e2``, too.

        """
        while at < len(line):
            options = self._options(line[at].text, abridged=abridged)
            if not options:
                break
            at += 1
            for name, given in options:
                action, value = self._actions[name], given
                if value is not None:
                    value = self._value(action, value)
                if action.nargs != 0 and given is None and at < len(line) and not self._is_option(line[at].text):
                    value = self._value(action, line[at].text)
                    at += 1
                self.found.append((action, value))
        return at

    def take_last(self, line: list[Word], target: str) -> int:
        """Take options after a target, which begins with the first word; return its number of words."""
        is_python = compiles(target)
        for at in range(1, len(line)):
            word = line[at].text
            is_subtracted = is_python and word[1:] in self._names and not word.startswith("--")
            if is_subtracted or not self._options(word, abridged=False):
                continue
            before = len(self.found)
            if self.take(line, at, abridged=False) == len(line):
                self._refuse_within(line[:at])
                return at
            del self.found[before:]
        self._refuse_within(line)
        return len(line)

    def parsed(self) -> argparse.Namespace:
        """Return the options with their values checked."""
        by_dest: dict[str, list[argparse.Action]] = {}
        for action, _ in self.found:
            by_dest.setdefault(action.dest, []).append(action)
        for actions in by_dest.values():
            names = list(dict.fromkeys(map(_name, actions)))
            if len(names) > 1:
                message = f"{' and '.join(names)} contradict each other; type one of them"
                raise UsageError(message)
            if len(actions) > 1 and actions[0].nargs != 0 and actions[0].default != []:
                message = f"{names[0]} is typed {len(actions)} times; type it once"
                raise UsageError(message)
        given = [_name(action) if value is None else f"{_name(action)}={value}" for action, value in self.found]
        return self._parser.parse_args(given)

    def _value(self, action: argparse.Action, text: str) -> str:
        if not self._is_python:
            return text
        return _placed(text, self._names, as_text=action.dest != "decode")

    def _is_option(self, word: str) -> bool:
        return word == "--" or bool(self._options(word, abridged=False))

    def _options(self, word: str, *, abridged: bool) -> list[tuple[str, str | None]]:
        """Return the options in a word, and the value of the last one if the word has it, too."""
        if word in self._actions:
            return [(word, None)]
        if long := _LONG.fullmatch(word):
            name, value = long.groups()
            if name in self._actions:
                return [(name, value)]
            if not abridged:
                return []
            candidates = [one for one in self._long if one.startswith(name)]
            if len(candidates) != 1:
                raise self._unknown(name, candidates)
            return [(candidates[0], value)]
        return self._letters(word) if abridged and _SHORT.match(word) else []

    def _letters(self, word: str) -> list[tuple[str, str | None]]:
        """Take ``-tr`` for ``-t -r``, and ``-e2`` for ``-e 2``, but ``-data`` for Python where data is a variable."""
        if self._is_python and (used := names_in(word)) and used <= self._names.keys():
            return []
        if f"-{word}" in self._actions:
            message = f"{word} is not an option; type -{word}"
            raise UsageError(message)
        found: list[tuple[str, str | None]] = []
        for at, letter in enumerate(word[1:], 2):
            action, rest = self._actions.get(f"-{letter}"), word[at:]
            if action is None:
                return []
            if action.nargs != 0 and rest:
                fits = _GLUED.fullmatch(rest) or not self._is_python
                return [*found, (f"-{letter}", rest.removeprefix("="))] if fits else []
            found.append((f"-{letter}", None))
        return found

    def _refuse_within(self, target: list[Word]) -> None:
        """Refuse a target with a word like an option: two minus signs of Python may have a space between."""
        if target[0].text[0] in _DASHES:
            message = f"{short(target[0].text)} begins with a typographic dash; options begin with - or --"
            raise UsageError(message)
        options = [long[1] for word in target if (long := _LONG.fullmatch(word.text))]
        for name in options:  # which may be why the others were not taken for options after the target
            if name not in self._actions:
                raise self._unknown(name, [])
        if options:
            message = f"{options[0]} stands within the target; options come first, then the target"
            raise UsageError(message)

    def _unknown(self, name: str, candidates: list[str]) -> UsageError:
        if candidates:
            return UsageError(f"{name} may be {' or '.join(candidates)}; type one of them")
        near = did_you_mean(name, self._long) or f"; the options are {', '.join(self._long)}"
        return UsageError(f"{short(name)[1:-1]} is not an option{near}")


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1]


def _makes_sense(text: str) -> bool:
    """Tell whether a text is Python, perhaps with a pid before it."""
    cuts = [word.start for word in words(text)[1:LONGEST_PID]]
    return compiles(text) or any(compiles(text[:cut]) and compiles(text[cut:]) for cut in cuts)
