"""The variables that a frame of the user's Python sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.events import lines
from pte_magic.targets import namespaces

if TYPE_CHECKING:
    from types import FrameType

    from pte_magic.targets.namespaces import Held


def users_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame of the user's code: others, such as contextlib's, may stand below it."""
    while frame is not None and not lines.is_users(frame.f_code):
        frame = frame.f_back
    return frame


def names_of(frame: FrameType | None) -> tuple[list[Held], set[int]]:
    """Return the variables that a frame sees; those of the notebook with what IPython holds."""
    held, beyond = namespaces.of_notebook()
    if frame is None or (frame.f_locals is frame.f_globals and id(frame.f_globals) in beyond):
        return held, beyond
    known = {one.name for one in held} if id(frame.f_globals) in beyond else set[str]()
    if not known:
        held, beyond = [], {id(frame.f_globals)}
    names = {**frame.f_globals, **frame.f_locals}
    found = [one for one in namespaces.of_dictionary(names) if not one.name.startswith("__")]
    local = frame.f_locals.keys()
    found.sort(key=lambda one: one.name not in local)
    held[:] = [
        *(one for one in found if one.name in local or not known),
        *(one for one in held if one.name not in local),
    ]
    return held, beyond
