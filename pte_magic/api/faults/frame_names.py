"""The variables that a frame of the user's Python sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.events import line_hooks, lines
from pte_magic.targets import namespaces

if TYPE_CHECKING:
    from types import FrameType

    from pte_magic.targets.namespaces import Held


def users_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame of the user's code: others, such as contextlib's, may stand below it."""
    while frame is not None and not lines.is_users(frame.f_code):
        frame = frame.f_back
    return frame


def names_before(frame: FrameType | None) -> tuple[list[Held], set[int]]:
    """Return the variables that a frame sees before the block; of a function only from Python 3.13 on.

    Before that, a frame keeps the copy of its variables that ``f_locals`` makes, and tracing fills it: what the block
    deletes would live until its end, and its faults would not be those of the block alone.
    """
    if frame is not None and line_hooks.copies(frame):
        return namespaces.of_dictionary(frame.f_globals), {id(frame.f_globals)}
    return names_of(frame)


def names_of(frame: FrameType | None) -> tuple[list[Held], set[int]]:
    """Return the variables that a frame sees; those of the notebook with what IPython holds."""
    held, beyond = namespaces.of_notebook()
    if frame is None or (frame.f_locals is frame.f_globals and id(frame.f_globals) in beyond):
        return held, beyond
    known = {one.name for one in held} if id(frame.f_globals) in beyond else set[str]()
    if not known:
        held, beyond = [], {id(frame.f_globals)}
    locals_ = _read(frame.f_locals)
    names = {**_read(frame.f_globals), **locals_}
    local = {*locals_}
    line_hooks.let_go(frame)
    found = [one for one in namespaces.of_dictionary(names) if not one.name.startswith("__")]
    found.sort(key=lambda one: one.name not in local)
    held[:] = [
        *(one for one in found if one.name in local or not known),
        *(one for one in held if one.name not in local),
    ]
    return held, beyond


def _read(names: Any) -> dict[str, Any]:
    """Return names by the methods of dict: the body of a class may have a mapping of its own, which can compute."""
    if issubclass(type(names), dict):
        return dict(dict.items(names))  # dict.copy() asks a class that has its own __iter__
    return dict(names) if type(names).__module__ == "builtins" else {}  # since Python 3.13 that of a function
