"""Python expressions that a user typed into a magic."""

from __future__ import annotations

import ast
import operator
import re
import sysconfig
import traceback
import warnings
from collections import ChainMap
from typing import TYPE_CHECKING, Any

from pte_magic.errors import PteMagicError, TargetError, arguments, said
from pte_magic.errors.cut import cut
from pte_magic.text.typed_numbers import HALF_A_RANGE, TypedNumber, is_hex, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FILE = "%pte"  # the name of what was typed, as if it were a file
_LIBRARIES = ("<frozen ", *(path for name, path in sysconfig.get_paths().items() if name.endswith("lib")))
_SHOWN = 60  # letters of a text in a message
# compile() raises these for a text that is not Python (before 3.12, ValueError for a zero byte), or nests too deep.
_NOT_COMPILED = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)


class Names(ChainMap[str, Any]):
    """Python's variables, and values that were put into a line, by their expressions.

    Such an expression is evaluated once; its value is held as long as this.
    """

    def __init__(self, variables: dict[str, Any]) -> None:
        """Begin without values; assignments in expressions go to the variables."""
        self.variables, self.placed = variables, dict[str, Any]()
        super().__init__(variables, self.placed)


def evaluate(text: str, namespace: Mapping[str, Any]) -> Any:
    """Return the value of a number in any base, or of a Python expression.

    Raises:
        NameError: A name in the expression is not defined; as Python raises it.
        TargetError: It is not an expression, or raised anything else.

    """
    try:
        return int(text, 0)
    except ValueError:
        pass
    if isinstance(namespace, Names) and text in namespace.placed:
        return namespace.placed[text]
    variables = namespace.variables if isinstance(namespace, Names) else dict(namespace)
    try:
        code = compile(text.strip(), _FILE, "eval")
    except _NOT_COMPILED as error:
        raise _not_python(text, error) from error
    try:
        return eval(code, variables)  # noqa: S307  (typed into the notebook, where any code may be typed)
    except PteMagicError:
        raise
    except Exception as error:  # an expression may raise anything, and bad input gets one line, not a traceback
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, NameError) and frames[-1].filename == _FILE:
            raise
        message = f"{_cut(text)}: {type(error).__name__}{_said(error)}{_within(frames)}"
        raise TargetError(message) from error


def entry(text: str, namespace: Mapping[str, Any]) -> TypedNumber:
    """Return the raw entry that a user typed: a number as in oopses, or a Python expression.

    A defined name takes precedence over a number with the same letters.

    Args:
        text: The typed text.
        namespace: Defined names.

    Returns:
        The number, or the value of the expression; `pte_magic.decode` checks that.

    Raises:
        NameError: The text is neither; if it could be hex, the message says what to type.
        TargetError: The expression raised an exception.

    """
    text = text.strip()
    found = None if text in namespace else number(text, digits_are_hex=True)
    if found is not None:
        arguments.typed_entry(text, found.value)
        return found
    try:
        return TypedNumber(evaluate(text, namespace))
    except NameError as error:
        if not is_hex(text):
            raise
        message = f"{error}; if it is a number in hex, type 0x{text}"
        raise NameError(message) from error


def compiles(text: str) -> bool:
    """Tell whether a text is a Python expression."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd is said when it is evaluated, once
        try:
            compile(text.strip(), _FILE, "eval")
        except _NOT_COMPILED:
            return False
    return True


def parsed(text: str) -> ast.expr | None:
    """Return the syntax tree of a Python expression; None if the text is not one."""
    if not compiles(text):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.strip(), mode="eval").body


def names_in(text: str) -> set[str]:
    """Return the names in a Python expression; none if the text is not an expression."""
    tree = parsed(text)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} if tree else set()


def pid_of(text: str, namespace: Mapping[str, Any]) -> int | None:
    """Return the pid that a text stands for: a number, ``self`` (None), or an expression for an object with a pid.

    Raises:
        TargetError: It stands for something else.

    """
    if text == "self":
        return None
    value = int(text) if text.isdecimal() else evaluate(text, namespace)  # Python refuses zeros before a number
    try:
        value = getattr(value, "pid", value)  # a Popen, a multiprocessing.Process, a psutil.Process
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    except Exception as error:  # a property and __index__ of somebody else's may raise anything
        message = f"the pid of {short(text)}: {type(error).__name__}{_said(error)}"
        raise TargetError(message) from error
    message = f"{short(text)} is not a pid; type a number, or an object that has a pid"
    raise TargetError(message)


def short(text: str) -> str:
    """Return a text as messages show it: in quotes, on one line, and not too long."""
    return repr(cut(text, _SHOWN))


def _cut(text: str) -> str:
    return short(text)[1:-1] if len(text) > _SHOWN else text


_HEX_RANGE = re.compile(r"(?:0x)?([0-9a-f]+)\s*(?:-|\.\.)\s*(?:0x)?([0-9a-f]+)", re.IGNORECASE)
"""Hex without 0x on one side at least, or dots between."""


def _not_python(text: str, error: Exception) -> TargetError:
    if HALF_A_RANGE.fullmatch(text.strip()):
        return TargetError(
            f"{short(text)} is not a range; type START-END, as in /proc/PID/maps: 7f0000000000-7f0000001000"
        )
    if found := _HEX_RANGE.fullmatch(text.strip()):
        return TargetError(f"{short(text)} is not a range; type it with 0x, such as 0x{found[1]}-0x{found[2]}")
    at = error.offset if isinstance(error, SyntaxError) else None
    what = error.msg if isinstance(error, SyntaxError) else f"{type(error).__name__}{_said(error)}"
    place = f", at letter {at} of {len(text.strip())}" if at and "\n" not in text.strip() else ""
    return TargetError(f"{short(text)} is not an address, region or Python expression: {what}{place}")


def _said(error: Exception) -> str:
    """Return the text of an error after a colon; empty without a text, as its class is named already."""
    words = said(error)
    return "" if words == type(error).__name__ else f": {words}"


def _within(frames: Sequence[traceback.FrameSummary]) -> str:
    """Return the user's function that raised an error, or called a library that did; empty if there is none."""
    at = next(number for number, frame in enumerate(frames) if frame.filename == _FILE)
    called = [frame for frame in frames[at:] if frame.filename != _FILE and not frame.filename.startswith(_LIBRARIES)]
    return f" (in {called[-1].name}, line {called[-1].lineno})" if called else ""
