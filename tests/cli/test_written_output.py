"""Where the output of ``pte-magic`` goes: data for programs, pipes that are closed, full disks, terminals, locales."""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from handmade import PAGE, PAGE_WORDS, NewMap
from typed_commands import ENVIRONMENT, run, said, terminal, words

import pte_magic

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture
def pages(new_map: NewMap) -> tuple[int, str]:
    """Return this process, and a range of its memory: a page that was written to, and one that was not."""
    start = new_map(2 * PAGE)
    ctypes.memset(start, 1, PAGE)
    return os.getpid(), f"{start:#x}-{start + 2 * PAGE:#x}"


def ends(what: str) -> tuple[int, int]:
    start, end = what.split("-")
    return int(start, 16), int(end, 16)


def test_json_has_an_object_per_row_with_hex_for_what_is_too_long_for_a_number(pages: tuple[int, str]) -> None:
    rows = [json.loads(line) for line in said("show", "--json", *pages).splitlines()]
    found = pte_magic.entries(*ends(pages[1]))
    assert [int(row["vaddr"], 16) for row in rows] == found.vaddr.tolist()
    assert [row["size"] for row in rows] == found.size.tolist()
    if found.encoding != "pagemap":
        assert [int(row["entry"], 16) for row in rows] == found.entry.tolist()
    assert [row["state"] for row in rows] == ["present", "none"]
    assert [row["present"] for row in rows] == [True, False]
    assert rows[1]["pfn"] is None
    assert {row["pid"] for row in rows} == {os.getpid()}


def test_options_may_come_anywhere(pages: tuple[int, str]) -> None:
    expected = said("show", "--json", "--walker", "pagemap", *pages)
    assert said("show", pages[0], "--json", pages[1], "--walker", "pagemap") == expected
    assert said("show", "-w", "pagemap", "--json", "--", *pages) == expected
    assert said("decode", "0x67", "--json", "0") == said("decode", "--json", "0x67", "0")


def rows_of(frame: pte_magic.PteFrame) -> list[str]:
    """Return the text of a frame without its first line, which a walk has from more than its rows."""
    return str(frame).splitlines()[1:]


def test_csv_and_parquet_come_back_as_the_frame(pages: tuple[int, str], tmp_path: Path) -> None:
    expected = pte_magic.walk(*ends(pages[1]))
    back = pte_magic.PteFrame(pd.read_csv(io.StringIO(said("show", "--csv", *pages)), dtype_backend="numpy_nullable"))
    assert rows_of(back) == rows_of(expected)
    file = tmp_path / "entries.parquet"
    assert not said("show", "--parquet", file, *pages)
    assert rows_of(pte_magic.PteFrame(pd.read_parquet(file))) == rows_of(expected)


def test_decoded_entries_need_no_process() -> None:
    assert said("decode", "0x67", "0") == f"{pte_magic.decode([0x67, 0])}\n"
    assert said("decode", "--bits", "0x80000002892000e7", "--level", "pmd").startswith("pmd entry 0x80000002892000e7: ")
    done = run("decode", "106923061")
    assert done.stderr.startswith("pte-magic: 106923061 was read as hex, 0x106923061;")
    assert said("decode", "0x67", "--arch", "arm64_16k", "--release", "6.12", "--json").count("\n") == 1


def test_a_reader_that_has_seen_enough_ends_it_silently(pages: tuple[int, str]) -> None:
    for line in (["show", pages[0], "all"], ["show", pages[0], pages[1].partition("-")[0]], ["decode", "0x67"]):
        process = subprocess.Popen(
            words(*line), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd="/"
        )
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert (process.stderr.read(), process.wait()) == (b"", 141)
        process.stderr.close()


@pytest.mark.parametrize("option", [[], ["--json"], ["--csv"], ["--parquet", "/dev/full"]])
def test_a_full_disk_is_told_of_in_one_line(option: list[str]) -> None:
    with Path("/dev/full").open("w", encoding="ascii") as full:
        done = run("decode", *option, "0x67", stdout=full)
    assert done.returncode == 1
    assert re.fullmatch(r"pte-magic: [^\n]+ cannot be written: No space left on device[^\n]*\n", done.stderr)


def test_a_file_that_may_not_be_written_is_named() -> None:
    done = run("decode", "0x67", "--parquet", "/nonexistent/x")
    assert done.returncode == 1
    assert re.fullmatch(r"pte-magic: /nonexistent/x cannot be written: [^\n]+\n", done.stderr)


def test_without_standard_output_it_says_so() -> None:
    done = run("decode", "0x67", stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (
        1,
        "pte-magic: standard output is closed; redirect it to a file, such as /dev/null\n",
    )


@pytest.mark.parametrize("setting", [{"LC_ALL": "C"}, {"LC_ALL": "xx_YY.nothing"}, {"PYTHONIOENCODING": "ascii"}])
def test_no_locale_is_in_the_way(
    pages: tuple[int, str], setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("show", *pages, env=ENVIRONMENT | setting)
    assert (done.returncode, done.stderr) == (0, "")
    monkeypatch.setenv("COLUMNS", "80")
    expected = f"{pte_magic.walk(*ends(pages[1]))}\n"
    assert done.stdout in {expected, expected.replace("\N{MULTIPLICATION SIGN}", r"\xd7")}


def test_bold_is_for_terminals_without_no_color() -> None:
    plain = said("decode", "--bits", "0x67", env=ENVIRONMENT)
    assert "\x1b" not in plain
    assert ESCAPE.sub("", said("decode", "--bits", "--color", "always", "0x67", env=ENVIRONMENT)) == plain
    with terminal("decode", "--bits", "0x67") as shown:
        text = shown.end()
    assert ESCAPE.sub("", text) == plain
    bold = re.findall(r"\x1b\[1m(.*?)\x1b\[m", text)
    assert bold[0].startswith("pte entry 0x0000000000000067: present")
    assert {line.split()[1] for line in bold[1:]} == {"present", "rw", "user", "accessed", "dirty"}
    with terminal("decode", "--bits", "0x67", NO_COLOR="1") as shown:
        assert shown.end() == plain
    with terminal("decode", "--bits", "--color", "never", "0x67") as shown:
        assert shown.end() == plain


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_of_any_width_gets_what_a_pipe_of_that_width_gets(pages: tuple[int, str], columns: int) -> None:
    address = pages[1].partition("-")[0]
    with terminal("show", "--color", "never", pages[0], address, columns=columns) as shown:
        text = shown.end()
    assert text == said("show", pages[0], address, env=ENVIRONMENT | {"COLUMNS": str(columns)})
    assert max(map(len, text.splitlines())) <= columns


@pytest.mark.parametrize(
    ("setting", "letters"), [({}, "▒"), ({"PYTHONIOENCODING": "ascii"}, "k"), ({"NO_COLOR": "1"}, "▒")]
)
def test_a_terminal_shows_the_range_as_a_bar(pages: tuple[int, str], setting: dict[str, Any], letters: str) -> None:
    with terminal("show", *pages, **setting) as shown:
        text = shown.end()
    assert ("\x1b[" in text) == (setting != {"NO_COLOR": "1"})
    lines = ESCAPE.sub("", text).splitlines()
    assert max(map(len, lines)) <= 80
    bar = next(line for line in lines if line.startswith(letters))
    assert bar.count(letters) == 40  # half of the range was written to
    assert f"{letters} {PAGE_WORDS} pages {PAGE_WORDS}" in text.replace("\x1b[34m", "").replace("\x1b[m", "")


def test_a_pipe_gets_all_rows_and_a_terminal_those_that_have_room(new_map: NewMap) -> None:
    start, pages = new_map(300 * PAGE), 300
    for page in range(0, pages, 2):
        ctypes.memset(start + page * PAGE, 1, PAGE)
    typed = ("show", "--walker", "pagemap", os.getpid(), f"{start:#x}-{start + pages * PAGE:#x}")
    expected = [f"{start + page * PAGE:#018x}"[-12:] for page in range(pages)]
    piped = said(*typed)
    assert [address for address in expected if address not in piped] == []
    with terminal(*typed) as shown:
        text = shown.end()
    assert expected[0] in text
    assert expected[pages // 2] not in text
