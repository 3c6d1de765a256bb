"""What tests of `pte_magic.why` share: the answer about memory made by hand, and what it tells to type, done."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from handmade import HUGE, HUGEPAGE, NOHUGEPAGE, NewMap, madvise, smaps, write

import pte_magic

if TYPE_CHECKING:
    from pte_magic import Why

_OF_HUGE = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped")
AS_ROOT = "as root: "


def asked(address: int, size: int = HUGE, **options: Any) -> Why:
    return pte_magic.why(address, address + size, **options)


def forbidden(found: Why) -> set[str]:
    """Return the checks that found a cause."""
    return set(found.loc[found["forbids"].fillna(value=False), "check"])


def row(found: Why, check: str) -> dict[str, Any]:
    """Return the row of a check."""
    (one,) = found[found["check"] == check].to_dict("records")
    return {str(name): value for name, value in one.items()}


def refused(found: Why, check: str, *words: str) -> None:
    """Assert that a check is the cause that the first line names, in these words."""
    first = str(found).partition("\n")[0]
    assert first == found.attrs["line"]
    assert first.startswith("not on huge pages: ")
    for word in words:
        assert word in first
    assert check in forbidden(found)
    assert int(row(found, check)["bytes"]) > 0


def done(todo: str) -> None:
    """Do what a row tells to type."""
    assert todo
    if todo.startswith(AS_ROOT):
        subprocess.run(["sh", "-c", todo.removeprefix(AS_ROOT)], check=True)
    else:
        exec(todo, {"pte_magic": pte_magic})  # noqa: S102  (that is what a user does)


def typed(found: Why) -> None:
    """Do what the first line tells to type."""
    done(found.attrs["type_this"])


def huge(address: int, pid: int | str = "self") -> int:
    """Return the bytes of huge pages that the kernel counts in the region of an address."""
    return sum(smaps(address, name, pid) for name in _OF_HUGE)


def small(new_map: NewMap, size: int = HUGE) -> int:
    """Map memory on small pages, which then asks for huge ones."""
    address = new_map(size, advice=NOHUGEPAGE)
    write(address, size)
    madvise(address, size, HUGEPAGE)
    assert huge(address) == 0
    return address
