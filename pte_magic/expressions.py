"""What a person typed into a magic, in Python."""

from __future__ import annotations

from typing import Any

from pte_magic.errors import PteMagicError, TargetError


def evaluate(text: str, namespace: dict[str, Any]) -> Any:
    """Return the value of a number in any base, or of a Python expression.

    Raises:
        NameError: As Python raises it.
        TargetError: The expression raised anything else.

    """
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return eval(text, namespace)  # noqa: S307  (typed into the notebook, where any code may be typed)
    except (NameError, PteMagicError):
        raise
    except Exception as error:  # an expression may raise anything, and bad input gets one line, not a traceback
        message = f"{text}: {type(error).__name__}: {error}"
        raise TargetError(message) from error


def compiles(text: str) -> bool:
    """Tell whether a text is a Python expression."""
    try:
        compile(text, "%pte", "eval")
    except SyntaxError:
        return False
    return True


def pid_of(text: str, namespace: dict[str, Any]) -> int | None:
    """Return the pid that a text stands for: a number, ``self`` (None), or an expression of what has a pid.

    Raises:
        TargetError: It stands for something else.

    """
    if text == "self":
        return None
    value = evaluate(text, namespace)
    value = getattr(value, "pid", value)  # a Popen, a multiprocessing.Process, a psutil.Process
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"{text!r} is no pid; type a number, or something that has a pid"
        raise TargetError(message)
    return value
