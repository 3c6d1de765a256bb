"""IPython's ``{expression}`` and ``$name`` in a line: where a value is put in, and where they are Python."""

from __future__ import annotations

import ast
import keyword
from typing import TYPE_CHECKING

from IPython.utils.text import DollarFormatter

from pte_magic.notebook.expressions import compiles, evaluate, parsed
from pte_magic.notebook.typed_words import LONGEST_PID, outside_quotes, split, words

if TYPE_CHECKING:
    from pte_magic.notebook.expressions import Names

_OPERATORS = frozenset("+-*/%@<>=!&|^~.,:")


def expanded(text: str, names: Names) -> str:
    """Put values into a text as IPython does for ``{expression}`` and ``$name``, but not where it is Python already.

    As a separate word, it stands for the value, not for its text; a set with one item is taken for that, too.

    Raises:
        PteMagicError: An expression raised an error.

    """
    outside = outside_quotes(text)
    if "$" not in outside and "{" not in outside:
        return text
    parts = split(text)
    typed = [[word.text for word in words(part)] for part in parts]
    found = [[placed(word, names, is_operand=_is_operand(line, at)) for at, word in enumerate(line)] for line in typed]
    if found != typed:
        return ", ".join(map(" ".join, found))
    if all(map(_makes_sense, parts)):
        return text
    try:
        return DollarFormatter().vformat(text, args=[], kwargs=names)
    except Exception:  # noqa: BLE001  (as in IPython: what cannot be put in stays, and is an error later)
        return text


def placed(word: str, names: Names, *, as_text: bool = False, is_operand: bool = False) -> str:
    """Return a word or its replacement: a value that is a text, as if typed; for other values the expression.

    Args:
        word: The typed word.
        names: Python's variables; they keep the value, so that the expression is not evaluated again.
        as_text: Turn other values into texts, too.
        is_operand: The word is a part of an expression, whose value is not needed here.

    Raises:
        PteMagicError: The expression raised an error.

    """
    if word.startswith("$") and word[1:].replace(".", "a").isidentifier():
        inner = word[1:]
    else:
        tree = parsed(word)
        if not isinstance(tree, ast.Set) or len(tree.elts) > 1 or isinstance(tree.elts[0], ast.Starred):
            return word
        inner = f"({word.strip()[1:-1]})"
    if is_operand:
        return inner
    try:
        value = names.placed[inner] = evaluate(inner, names)
    except NameError:
        return inner
    return str(value) if as_text or isinstance(value, str) else inner


def _is_operand(line: list[str], at: int) -> bool:
    before, after = line[at - 1] if at else "", line[at + 1] if at + 1 < len(line) else ""
    return before[-1:] in _OPERATORS or after[:1] in _OPERATORS or keyword.iskeyword(before) or keyword.iskeyword(after)


def _makes_sense(text: str) -> bool:
    """Tell whether a text is Python, perhaps with a pid before it."""
    cuts = [word.start for word in words(text)[1:LONGEST_PID]]
    return compiles(text) or any(compiles(text[:cut]) and compiles(text[cut:]) for cut in cuts)
