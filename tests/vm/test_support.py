"""README's table of where which walker works: its form, and how it is made of reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import claims
import support
from guests import GUESTS

from pte_magic import walkers
from pte_magic.linux.geometry import GEOMETRIES

REPORT = """<testsuites><testsuite tests="5" skipped="1">
<properties><property name="kernel" value="6.12.118+deb13-amd64" /><property name="encoding" value="{encoding}" />
<property name="page_size" value="{page_size}" /><property name="levels" value="{levels}" /></properties>
<testcase name="test_a[bpf-0-1]" /><testcase name="test_b[bpf]" />
<testcase name="test_a[0-stap]"><{end} /></testcase><testcase name="test_a[pagemap]" />
<testcase name="test_bpf_walker" /><testcase name="test_a[helper]"><skipped /></testcase></testsuite></testsuites>
"""


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_what_is_supported_is_what_ran_and_passed(tmp_path: Path) -> None:
    machines = [("arm64_64k", 65536, 3, "other"), ("x86_64", 4096, 5, "other"), ("x86_64", 4096, 4, "failure")]
    paths = [tmp_path / f"{number}.xml" for number in range(3)]
    for path, (encoding, page_size, levels, end) in zip(paths, machines, strict=True):
        path.write_text(REPORT.format(encoding=encoding, page_size=page_size, levels=levels, end=end), "utf-8")
    head, _, *found = rows(support.table(paths))
    by_name = [dict(zip(head, row, strict=True)) for row in found]
    assert [row["architecture"] for row in by_name] == ["x86-64", "x86-64", "arm64"]
    assert [row["levels"] for row in by_name] == ["4", "5", "3"]
    assert [row["pages"] for row in by_name] == ["4 KiB", "4 KiB", "64 KiB"]
    assert {row["kernel"] for row in by_name} == {"6.12"}
    assert [row["`stap`"] for row in by_name] == ["no", "yes", "yes"]
    for row in by_name:
        assert [row["`bpf`"], row["`pagemap`"], row["`helper`"]] == ["yes", "yes", "no"]


def test_what_passed_is_known_by_the_names_that_pytest_writes(tmp_path: Path) -> None:
    file, report = Path(__file__).with_name("test_tutorials_copied.py"), tmp_path / "report.xml"
    words = ["-p", "no:cacheprovider", f"--junit-xml={report}", str(file)]
    subprocess.run([sys.executable, "-m", "pytest", *words], check=True, capture_output=True, cwd=file.parents[2])
    assert support.passed(report) == {f"vm/{file.name}::{name}" for name in claims.functions(file)}


def test_every_format_of_entries_has_a_name_for_people() -> None:
    assert set(support.ARCHITECTURES) == set(GEOMETRIES)


def test_readme_has_a_row_for_every_kind_of_guest_and_a_column_for_every_walker() -> None:
    found = support.BLOCK.search(support.README.read_text(encoding="utf-8"))
    assert found, "README has lost the marks around its table: see tests/vm/support.py"
    head, _, *body = rows(found[0])
    assert head == ["architecture", "kernel", "pages", "levels", *(f"`{name}`" for name in walkers.NAMES)]
    shown = {row[0].split(",")[0] for row in body}
    kinds = tuple({guest.machine for guest in GUESTS.values()})
    tested = {name.split(",")[0] for format_, name in support.ARCHITECTURES.items() if format_.startswith(kinds)}
    assert shown == tested, "README's table is not of the guests that there are: type make test, then make support"
