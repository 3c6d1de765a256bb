"""The parser of a magic's line: options come first, and the rest is a target, which may be any Python.

``argparse`` only checks the values of options: it splits lines as a shell does, which would cut ``b[:, -1]`` in two.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.error import UsageError

from pte_magic.errors import PteMagicError
from pte_magic.notebook import unknown_letters
from pte_magic.notebook.expressions import Names, compiles, names_in, short
from pte_magic.notebook.placed_values import expanded, placed
from pte_magic.notebook.typed_words import Word, plain, words
from pte_magic.text.suggestions import did_you_mean

if TYPE_CHECKING:
    import argparse

_LONG = re.compile(r"(--[^\W\d][\w-]*)(?:=(.*))?", re.DOTALL)
_SHORT = re.compile(r"-[^\W\d_]")
_GLUED = re.compile(r"=.+|[.\w]+")  # a value without a space before it; -d["x"] is Python
_EMPTY = {"''", '""'}
_DASHES = "\u2013\u2014\u2212"  # what text processors make of - and --


class Line(NamedTuple):
    """A parsed line.

    Attributes:
        options: The values, from ``argparse``.
        typed: The options that were typed, written out, in order.
        target: The rest, without a comment.
        is_silent: True with a ``;`` at the end.
        names: Python's variables, with the values that were put into the line.

    """

    options: argparse.Namespace
    typed: list[str]
    target: str
    is_silent: bool
    names: Names


class Other(NamedTuple):
    """Another magic of the same name, which may have an option that this one does not have.

    Attributes:
        name: With its percent signs.
        magic: The method with ``magic_arguments``.

    """

    name: str
    magic: Any


def read(magic: Any, line: str, names: dict[str, Any], *, is_python: bool = True, other: Other | None = None) -> Line:
    """Parse a line.

    Options may also come last if they are clear: written out, or one letter that is not a variable to subtract. ``--``
    ends them.

    Args:
        magic: The method with ``magic_arguments``.
        line: The text after the magic's name.
        names: Python's variables.
        is_python: True if the rest of the line, and values of options, are Python.
        other: The magic that a message names for an option of it.

    Raises:
        UsageError: An option is wrong.

    """
    line, is_silent = plain(line)
    known = Names(names)
    reader = _Reader(magic.parser, known, is_python=is_python, other=other)
    typed = words(line)
    rest = typed[reader.take(typed, 0) :]
    target = line[rest[0].start :] if rest else ""
    if target.startswith("--") and rest[0].text == "--":
        target = target[2:].lstrip()
    elif rest:
        last = reader.take_last(rest, target)
        target = line[rest[0].start : rest[last - 1].end]
        if is_python:
            wrong = unknown_letters.in_target(magic.parser, target, known)
        else:
            wrong = unknown_letters.in_arguments(magic.parser, target)
        if wrong:
            raise UsageError(wrong)
    try:
        options = reader.parsed()
        if is_python:
            target = expanded(target, known)
    except PteMagicError as error:
        raise UsageError(str(error)) from error
    return Line(options, [_name(action) for action, _ in reader.found], target, is_silent, known)


def long_options(magic: Any) -> list[str]:
    """Return the options of a magic, written out, in the order of its help."""
    actions = magic.parser._actions  # noqa: SLF001  (there is no public way to ask for them)
    return [_name(action) for action in actions if action.option_strings]


class _Reader:
    """Takes options out of a line for one magic.

    Attributes:
        found: The options, each with its value if it has one.

    """

    def __init__(
        self, parser: argparse.ArgumentParser, names: Names, *, is_python: bool, other: Other | None = None
    ) -> None:
        self._parser, self._names, self._is_python, self._other = parser, names, is_python, other
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
                if action.nargs != 0 and given is None and at < len(line) and not self._is_option(line[at].text):
                    value = line[at].text
                    at += 1
                self.found.append((action, value))
        return at

    def take_last(self, line: list[Word], target: str) -> int:
        """Take options after a target, which begins with the first word; return its number of words."""
        is_python = compiles(target)
        for at in range(1, len(line)):
            word = line[at].text
            is_subtracted = is_python and word[1:] in self._names
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
        return self._parser.parse_args([self._checked(action, value) for action, value in self.found])

    def _checked(self, action: argparse.Action, value: str | None) -> str:
        """Return an option and its value as ``argparse`` takes them."""
        name = _name(action)
        if action.nargs == 0:
            if value is not None:
                message = f"{name} takes no value, and {short(value)} was typed; type {name}"
                raise UsageError(message)
            return name
        if value and self._is_python:
            value = placed(value, self._names, as_text=action.dest != "decode")
        if not value or value in _EMPTY:
            message = f"{name} needs a value; type {name} {action.metavar}"
            raise UsageError(message)
        return f"{name}={value}"

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
            if wrong := unknown_letters.at_start(self._parser, target[0].text):
                raise UsageError(wrong)
            message = f"{options[0]} stands within the target; options come first, then the target"
            raise UsageError(message)

    def _unknown(self, name: str, candidates: list[str]) -> UsageError:
        if candidates:
            return UsageError(f"{name} may be {' or '.join(candidates)}; type one of them")
        if self._other and name in long_options(self._other.magic):
            where = "goes with a cell" if self._other.name.startswith("%%") else "goes without a cell"
            return UsageError(f"{name} {where}; type {self._other.name} {name}")
        near = did_you_mean(name, self._long) or f"; the options are {', '.join(self._long)}"
        return UsageError(f"{short(name)[1:-1]} is not an option{near}")


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1]
