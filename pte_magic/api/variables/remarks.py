"""Remarks about variables: why a `del` frees nothing, a small view that keeps much, memory that is elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pte_magic.errors.arguments import class_name
from pte_magic.targets import freed_by_del, object_descriptions
from pte_magic.text.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pte_magic.targets.namespaces import Held
    from pte_magic.targets.owners import Owners

_MUCH = 1 << 20  # bytes about which a remark is made
_FEW = 3  # names in a remark


class Facts(NamedTuple):
    """Facts about a named object, in words.

    Attributes:
        name: The name.
        type: The name of its class.
        says: Its words about itself.
        keeper: The words for its holder, if it is not a variable of the user.
        release: The words that say how to release it.

    """

    name: str
    type: str
    says: str
    keeper: str
    release: str


def facts(held: Sequence[Held]) -> list[Facts]:
    """Return what objects say of themselves, and of which variable they are a view."""
    names: dict[int, str] = {}
    for one in held:
        names.setdefault(id(one.value), one.name)
    found = []
    for one in held:
        words = object_descriptions.of(one.value)
        base = object_descriptions.base(one.value)
        if base is not None:
            of = names.get(id(base))
            words += f", a view of {of}" if of else ", a view"
        found.append(Facts(one.name, class_name(one.value), words or one.keeper, one.keeper, one.release))
    return found


def remarks(known: Sequence[Facts], found: Owners, resident: NDArray[np.uint64]) -> list[str]:
    """Return a remark for each name; empty if there is nothing to say.

    Args:
        known: The facts of each.
        found: Their memory.
        resident: Resident bytes by name and state, ``uint64[names, states]``.

    """
    others: dict[int, list[int]] = {}
    for at, first in enumerate(found.same.tolist()):
        if first != at:
            others.setdefault(first, []).append(at)
    return ["; ".join(_remarks(at, known, found, resident[at], others)) for at in range(len(known))]


def _remarks(
    at: int, known: Sequence[Facts], found: Owners, resident: NDArray[np.uint64], others: dict[int, list[int]]
) -> list[str]:
    one, made = known[at], list(found.notes.get(at, ()))
    first = int(found.same[at])
    if first != at:
        return [f"the same object as {known[first].name}"]
    kept = found.kept.get(at)
    if kept and kept.bytes >= _MUCH:
        what = "a view of" if kept.views == 1 else f"{counted(kept.views, 'view')} of"
        made.append(f"{what} {size(kept.shown)} keep{'s' * (kept.views == 1)} {size(kept.bytes)}; keep a copy instead")
    if one.keeper:
        return [*made, one.release] if int(resident.sum()) >= _MUCH else made
    keepers = [known[other] for other in others.get(at, ()) if known[other].keeper]
    twins = [known[other].name for other in others.get(at, ()) if not known[other].keeper]
    if keepers:
        names = f"{keepers[0].name} holds" if len(keepers) == 1 else f"{keepers[0].name} and others hold"
        made.append(f"{names} it, too: {', '.join(dict.fromkeys(keeper.release for keeper in keepers))}")
    if twins:
        made.append(f"{', '.join(twins[:_FEW])} {'is' if len(twins) == 1 else 'are'} the same object")
    if not others.get(at) and int(resident[freed_by_del.SHARED]) >= _MUCH:
        made.append("del frees less: other names lead to it, too")
    elif not others.get(at) and int(resident[freed_by_del.HELD]) >= _MUCH:
        made.append("del frees less: a function that runs, a module or C holds it, too")
    return made
