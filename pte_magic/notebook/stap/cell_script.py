"""`Cell`: a cell of SystemTap with Python's values; each place in the script maps back to the cell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pte_magic.notebook.stap.python_values import global_name, literal, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "pte_magic_cell"
"""Of the module made of a cell."""

C_FILE = "C of the cell"
"""The file name of embedded C for the C compiler; its line numbers are those of the cell."""

# Text that decides the meaning of a $name, or is skipped. A target variable's member, element or pretty-printed form
# ($x->y, $x[0], $x$) is not a name of Python.
_TOKEN = re.compile(
    r"""(?P<skipped> //[^\n]* | \#[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\])*" | \$\$\w* )
      | (?P<embedded> %\{ .*? %\} )
      | (?P<target> @var\s*\(\s*"(?P<variable>[^\W\d]\w*)"\s*\) )
      | (?P<targets> @(?:defined|var)\s*\( )
      | (?P<literals> @hist_\w+\s*\( | %\( )
      | (?P<then> %\? )
      | (?P<open> [({] )
      | (?P<close> [)}] | %\) )
      | (?P<name> (?<![\w$])\$(?P<word>[^\W\d]\w*+) (?!\s*(?:->|\[)|\$) )""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell with Python's values in it.

    Attributes:
        text: The text below the magic.
        script: The text for SystemTap.
        variables: Numbers for global variables, which are set when the module is loaded.
        copied: Pieces of the text that are in the script: start there, start in the text, length.

    """

    text: str
    script: str
    variables: dict[str, int]
    copied: tuple[tuple[int, int, int], ...]

    def place(self, line: int, column: int) -> tuple[int, int]:
        """Return the place in the cell, whose first line is the magic's, for a place in the script.

        SystemTap counts lines and columns from 1, and columns in bytes.
        """
        lines = self.script.split("\n")
        shown = lines[line - 1] if line <= len(lines) else ""
        at = sum(len(above) + 1 for above in lines[: line - 1])
        at += len(shown.encode()[: column - 1].decode(errors="ignore"))
        before = ""
        for start, origin, length in self.copied:
            if start <= at:
                before = self.text[: origin + min(at - start, length)]
        return before.count("\n") + 2, len(before) - before.rfind("\n")

    def line(self, number: int) -> str:
        """Return a line of the cell, as `place` counts them."""
        return ["", "", *self.text.split("\n")][number]


def fill(text: str, namespace: Mapping[str, Any]) -> Cell:
    """Return a cell with the values of Python's variables in it.

    ``$name`` stands for the value of the variable of that name, if there is one: a number, a text, or the address of an
    array's first byte. A number within a handler becomes a global variable, so that another value needs no other
    module; other values become literals, as do numbers where SystemTap needs a literal. ``@var("name")`` is always the
    probe point's own variable.

    Raises:
        SystemTapError: A value is of a type that SystemTap does not have.

    """
    variables: dict[str, int] = {}
    changes = list(_changes(text, namespace, variables))
    script = f"global {', '.join(f'{name} = 0' for name in variables)}\n" if variables else "\n"
    copied, at = [], 0
    for start, end, by in [*changes, (len(text), len(text), "")]:
        copied.append((len(script), at, start - at))
        script += text[at:start] + by
        at = end
    return Cell(text, script, variables, tuple(copied))


def _changes(text: str, namespace: Mapping[str, Any], variables: dict[str, int]) -> Iterator[tuple[int, int, str]]:
    """Yield replacements: start, end, and the new text; add used variables to `variables`."""
    inside: list[str] = []  # brackets that are open, outermost first
    for found in _TOKEN.finditer(text):
        kind, word = found.lastgroup, found["word"]
        if kind == "embedded" and "{" not in inside:
            yield from _numbered(text, found.start() + 2, found.end() - 2)
        elif kind == "target":
            # For the same variable, this form is not known to all kinds of probes.
            yield found.start(), found.end(), f"${found['variable']}"
        elif kind == "open":
            inside.append(found[0])
        elif kind in ("literals", "targets"):
            inside.append(kind)
        elif kind == "then" and inside:
            inside[-1] = "%("
        elif kind == "close" and inside:
            inside.pop()
        elif kind == "name" and word in namespace and "targets" not in inside:
            number = value(word, namespace[word])
            if "{" not in inside or "literals" in inside or isinstance(number, str):
                yield found.start(), found.end(), literal(number)
            else:
                variables[global_name(word)] = number
                yield found.start(), found.end(), global_name(word)


def _numbered(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Yield lines that make the C compiler count the lines and columns of embedded C as in the cell."""
    line, column = text.count("\n", 0, start) + 2, start - text.rfind("\n", 0, start) - 1
    yield start, start, f'\n#line {line} "{C_FILE}"\n{" " * column}'
    yield end, end, '\n#line 1 "C of SystemTap"\n'
