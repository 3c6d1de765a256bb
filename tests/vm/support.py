"""The table in README of where which walker works, made of what the tests ran: ``make support``, after the guests.

A walker works where tests that have its name in theirs, such as ``test_chunks_end[bpf]``, ran in a guest, and none
failed. The guest's pytest has written down what it ran on: see guest/facts.py.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from guests import GUESTS, report
from recipe import PROJECT
from rootfs import LabError, ready

from pte_magic import walkers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

README = PROJECT / "README.md"
BLOCK = re.compile(r"(?<=<!-- support: make support -->\n).*?(?=<!-- end of support -->)", re.DOTALL)
"""What README has between two marks."""

ARCHITECTURES = {
    "x86_64": "x86-64",
    "arm64_4k": "arm64",
    "arm64_16k": "arm64",
    "arm64_64k": "arm64",
    "arm64_4k_lpa2": "arm64, 52-bit addresses (LPA2)",
    "arm64_16k_lpa2": "arm64, 52-bit addresses (LPA2)",
    "x86_32": "32-bit x86",
    "x86_pae": "32-bit x86, PAE",
}
"""What people call a machine, by the format of its entries (`hardware.encoding`)."""


class Place(NamedTuple):
    """Where tests ran, in the order of the table."""

    architecture: str
    kernel: tuple[int, ...]
    """The first two numbers of its release."""
    page_size: int
    levels: int


def table(reports: Iterable[Path]) -> str:
    """Return the table, in Markdown, of what is in reports of the guests' tests."""
    ran: dict[Place, Counter[str]] = {}
    failed: dict[Place, Counter[str]] = {}
    for path in reports:
        place = where(path)
        for name, passed in cases(path):
            (ran if passed else failed).setdefault(place, Counter())[name] += 1
    order = list(dict.fromkeys(ARCHITECTURES.values()))
    places = sorted(ran, key=lambda place: (order.index(place.architecture), place[1:]))
    head = ["architecture", "kernel", "pages", "levels", *(f"`{name}`" for name in walkers.NAMES)]
    rows = [head, ["---"] * len(head)]
    for place in places:
        known = failed.get(place, Counter())
        cells = ["yes" if ran[place][name] and not known[name] else "no" for name in walkers.NAMES]
        kernel = ".".join(map(str, place.kernel))
        rows.append([place.architecture, kernel, f"{place.page_size >> 10} KiB", str(place.levels), *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def where(path: Path) -> Place:
    """Return on what machine the tests of a report ran."""
    found = {item.attrib["name"]: item.attrib["value"] for item in ET.parse(path).iter("property")}  # noqa: S314  (it is ours)
    kernel = tuple(int(number) for number in found["kernel"].split("-")[0].split(".")[:2])
    return Place(ARCHITECTURES[found["encoding"]], kernel, int(found["page_size"]), int(found["levels"]))


def cases(path: Path) -> Iterable[tuple[str, bool]]:
    """Yield for each test of a report that was not skipped its walker, and whether it passed."""
    for case in ET.parse(path).iter("testcase"):  # noqa: S314  (it is ours)
        words = re.split(r"[\[\]-]", case.attrib["name"])[1:]
        if case.find("skipped") is None:
            passed = case.find("failure") is None and case.find("error") is None
            yield from ((name, passed) for name in walkers.NAMES if name in words)


def passed(path: Path) -> set[str]:
    """Return the tests of a report that passed, with some parameters at least: ``vm/guest/test_ksm.py::test_x``."""
    found = set()
    for case in ET.parse(path).iter("testcase"):  # noqa: S314  (it is ours)
        if not any(case.find(wrong) is not None for wrong in ("skipped", "failure", "error")):
            file = case.attrib["classname"].removeprefix("tests.").replace(".", "/")
            found.add(f"{file}.py::{case.attrib['name'].partition('[')[0]}")
    return found


def reports() -> list[Path]:
    """Return the reports of all guests that have run."""
    return [path for path in (report(ready(), name) for name in GUESTS) if path.exists()]


def main() -> None:
    """Write the table into README."""
    text = README.read_text(encoding="utf-8")
    made = table(reports())
    README.write_text(BLOCK.sub(lambda _: made, text), encoding="utf-8")
    sys.stdout.write(made)


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"lab: {error}")
