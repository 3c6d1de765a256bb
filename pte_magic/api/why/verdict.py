"""The lines that matter: why the target is not on huge pages, why it is swapped out, why it is on several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.api.why.attempt import CHECK
from pte_magic.api.why.rows import HUGE, NODES, SWAP
from pte_magic.text.units import size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pte_magic.api.why.facts import Facts
    from pte_magic.api.why.rows import Row


def lines(facts: Facts, rows: list[Row]) -> dict[str, Any]:
    """Return what is in the `attrs` of the frame: ``line``, ``type_this``, and other lines, ``also``.

    Args:
        facts: The facts.
        rows: The results of all checks.

    """
    said, todo = _of_huge_pages(facts, rows)
    also = [line for line in (_swapped(facts, rows), _of_nodes(rows)) if line]
    return {"line": said, "type_this": todo, "also": also}


def _of_huge_pages(facts: Facts, rows: list[Row]) -> tuple[str, str]:
    of, total = facts.measured.bytes, facts.total
    if not total:
        return "not on huge pages: nothing is mapped there", ""
    if of.huge == total:
        return f"on huge pages: all of {size(total)}", ""
    before = f"{size(of.huge)} of {size(total)} on huge pages; the others are not" if of.huge else "not on huge pages"
    why, todo = _why_not(facts, rows)
    return f"{before}: {why}", todo


def _why_not(facts: Facts, rows: list[Row]) -> tuple[str, str]:
    of = facts.measured.bytes
    cause = _main(rows) or next((row for row in rows if row.forbids is None and row.bytes and row.line), None)
    if cause is not None:
        return cause.line or cause.found, cause.type_this
    if not of.small + of.zero + of.swapped + of.other:
        return "nothing forbids them, and it has not been touched yet: pages come at the first touch", ""
    if of.unsure:
        return "nothing forbids them now", facts.again
    waits = "nothing forbids them now; its pages were there before, or there was no huge page when they were touched, "
    return f"{waits}and khugepaged has not come here since", facts.again


def _main(rows: Iterable[Row]) -> Row | None:
    """Return the cause of most bytes; of several, the first. The kernel's own answer of just now goes before these."""
    causes = [row for row in rows if row.forbids and row.about == HUGE and row.bytes != 0]
    said = [row for row in causes if row.check == CHECK]
    # EINVAL and EBUSY mean that a rule forbids it, or a limit; which one, the other checks say.
    if said and (not {"EINVAL:", "EBUSY:"} & set(said[0].line.split()) or len(causes) == 1):
        return said[0]
    return max((row for row in causes if row not in said), key=lambda row: row.bytes or 0, default=None)


def _swapped(facts: Facts, rows: Iterable[Row]) -> str:
    found = [row for row in rows if row.about == SWAP]
    if not found:
        return ""
    cause = next((row for row in found if row.forbids), None)
    why = cause.line if cause else "there is room for it now; pages come back only when they are touched"
    return f"swapped out: {size(found[0].bytes or 0)} of {size(facts.total)}: {why}"


def _of_nodes(rows: Iterable[Row]) -> str:
    found = [row for row in rows if row.about == NODES]
    if not found:
        return ""
    policy = next((row for row in found if row.line and row is not found[0]), None)
    return f"on nodes: {found[0].line}" + (f": {policy.line}" if policy else "")
