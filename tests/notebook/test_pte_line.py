"""Whole cells in a real shell: what is returned, what is printed, and one line where the input is bad."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from conftest import forked, needs_root
from handmade import PAGE
from shells import Cell, Shell

import pte_magic
from pte_magic.linux.hardware import user_limit
from pte_magic.views.page_map.page_map import PageMap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


@pytest.fixture
def waiting(shell: Shell) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that the shell knows as `child`."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"\n"  # it has its heap, and waits
        shell.ip.user_ns["child"] = child
        yield child
        child.kill()


def pages_of(shell: Shell, name: str) -> range:
    """Return the pages of an array of the shell."""
    array = shell.ip.user_ns[name]
    return range(array.ctypes.data // PAGE * PAGE, array.ctypes.data + array.nbytes, PAGE)


def is_behind(found: pd.DataFrame, pages: Sequence[int]) -> bool:
    """Tell whether rows are just those behind some pages; one may be of a huge page, as in the heap it sometimes is."""
    starts, ends = found["vaddr"], found["vaddr"] + found["size"]
    within = (ends > pages[0]) & (starts <= pages[-1])
    reaches = starts.iloc[0] <= pages[0] and ends.iloc[-1] > pages[-1]
    return bool(reaches and within.all() and (starts[1:].array == ends[:-1].array).all())


def test_an_array_is_shown(shell: Shell) -> None:
    cell = shell.run("%pte a")
    assert type(cell.result) is pte_magic.PteFrame
    assert is_behind(cell.result, pages_of(shell, "a"))
    assert f"{cell.result['vaddr'][0]:#014x}" in cell.out
    assert cell.err == ""


def test_a_semicolon_silences(shell: Shell) -> None:
    for line in ("%pte a;", "%pte a ;", "%pte --runs a;", "%pte a.ctypes.data;"):
        assert shell.run(line) == Cell(None, "", "")


def test_the_frame_can_be_kept(shell: Shell) -> None:
    cell = shell.run("df = %pte a")
    assert cell == Cell(None, "", "")
    assert is_behind(shell.ip.user_ns["df"], pages_of(shell, "a"))


def test_the_doctor_is_asked_by_its_option(shell: Shell) -> None:
    pd.testing.assert_frame_equal(shell.run("%pte --doctor").result, pte_magic.doctor())


@needs_root
def test_alone_it_prints_lines_to_type_that_all_work(shell: Shell) -> None:
    cell = shell.run("%pte")
    assert (cell.result, cell.err) == (None, "")
    lines = cell.out.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 76  # a browser breaks longer ones in the midst of a word
    assert lines[-1].endswith(": %pte --doctor")
    typed = re.findall(r"(?:^  |: )(%%?pte .*?)(?:  |$)", cell.out, re.MULTILINE)
    assert len(typed) == len([line for line in lines if line.startswith("  %")]) + 2 >= 11
    with forked(lambda: None):  # for --shared
        for line in typed:
            body = "\na[:] = 2" if line.startswith("%%") else ""
            told = shell.run(line.replace("1234", str(os.getpid())) + body)
            assert told.err == "", line
            assert told.result is not None or told.out, line


def test_help_shows_the_ways_to_call_it(shell: Shell) -> None:
    text = shell.run("%pte?").out
    for word in ("%pte a", "START-END", "[heap]", "%pte 1234 [heap]", "--walker", "--decode", "df = %pte a"):
        assert word in text
    assert "one of --doctor's list" in " ".join(text.split())
    assert "%%pte a             run the cell" in text
    for magic in ("%pte?", "%%pte --help\n1", "%%stap?"):
        assert max(map(len, shell.run(magic).out.split("\nFile: ")[0].splitlines())) <= 80
    assert "\\b" not in text
    assert "\b" not in text


@pytest.mark.parametrize("options", ["--decode 0x80000001530160e7 --level pmd", "-l pmd -d 0x80000001530160e7"])
def test_a_value_is_decoded(shell: Shell, options: str) -> None:
    pd.testing.assert_frame_equal(
        shell.run(f"%pte {options}").result, pte_magic.decode(0x80000001530160E7, level="pmd")
    )


def test_an_entry_is_decoded_as_an_oops_prints_it(shell: Shell) -> None:
    for text, note in (
        ("800fffffa7598063", ""),
        ("106923061", "106923061 was read as hex, 0x106923061; for the decimal type 0x65f8435\n"),
        ("0x106923061", ""),
        ("9223372042542342247", "9223372042542342247 was read as decimal, 0x8000000153016067\n"),
    ):
        cell = shell.run(f"%pte --decode {text};")
        value = {"800fffffa7598063": 0x800FFFFFA7598063, "9223372042542342247": 0x8000000153016067}
        kept = shell.run(f"df = %pte --decode {text}")
        assert cell.out == kept.out == note
        pd.testing.assert_frame_equal(shell.ip.user_ns["df"], pte_magic.decode(value.get(text, 0x106923061)))


def test_a_map_is_shown(shell: Shell) -> None:
    found = shell.run("%pte --map a").result
    assert isinstance(found, PageMap)
    assert is_behind(found.frame, pages_of(shell, "a"))


def test_the_bits_of_a_number_are_shown(shell: Shell) -> None:
    found = shell.run("%pte --bits --decode 0x80000002892000e7 --level pmd").result
    assert isinstance(found, pte_magic.BitField)
    assert (found.entry, found.level) == (0x80000002892000E7, "pmd")


@needs_root
def test_the_bits_and_the_way_of_an_address_are_shown(shell: Shell) -> None:
    address = shell.ip.user_ns["a"].ctypes.data + 5
    leaf = pte_magic.walk(address).iloc[-1]
    assert shell.run("%pte --bits a.ctypes.data + 5").result.entry == leaf["entry"]
    found = shell.run("%pte --translation a.ctypes.data + 5").result
    assert (found.address, found.physical) == (address, int(leaf["pfn"]) * PAGE + address % int(leaf["size"]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--bits --map a", "--bits and --map are different views; type one of them"),
        ("--runs --summary a", "--runs and --summary are different views; type one of them"),
        ("--frames --map a", "--frames and --map are different views; type one of them"),
        (
            "--bits --walker pagemap a",
            "row 0 has no raw entry: pagemap shows none; %pte --doctor says which walker does",
        ),
        (
            "--translation --walker pagemap a",
            "row 0 has no raw entry: pagemap shows none; %pte --doctor says which walker does",
        ),
    ],
)
def test_a_view_that_there_is_not_is_one_line(shell: Shell, line: str, message: str) -> None:
    cell = shell.run(f"%pte {line}")
    assert cell.result is None
    assert message in cell.err
    assert "Traceback" not in cell.err


def test_a_value_of_a_name_is_decoded(shell: Shell) -> None:
    assert shell.run("value = np.uint64(1 << 63 | 0x5067)\n%pte -d value").result["pfn"].tolist() == [5]


def test_options_are_those_of_the_functions(shell: Shell) -> None:
    address = pages_of(shell, "a")[0]
    pd.testing.assert_frame_equal(shell.run("%pte --runs a").result, shell.run("%pte a").result.runs())
    pd.testing.assert_frame_equal(shell.run("%pte --summary a").result, shell.run("%pte a").result.summary())
    framed = shell.run("%pte --frames a").result
    assert list(framed) == list(shell.run("%pte -f a").result) == list(pte_magic.walk(shell.ip.user_ns["a"]).frames())
    assert framed["permissions"].tolist() == ["rw-p"] * len(framed)
    pd.testing.assert_frame_equal(
        shell.run("%pte --tables a").result, pte_magic.walk(shell.ip.user_ns["a"], tables=True)
    )
    pd.testing.assert_frame_equal(shell.run(f"%pte {address:#x}").result, pte_magic.walk(address))
    pd.testing.assert_frame_equal(
        shell.run(f"%pte --no-tables {address}").result, pte_magic.walk(address, tables=False)
    )
    assert set(shell.run("%pte --walker pagemap a").result["walker"]) == {"pagemap"}


@pytest.mark.parametrize("line", ["a[1024:]", "a[ 1024 : ]", "(a)[1024:]", "memoryview(a)[1024:]"])
def test_an_expression_is_what_it_evaluates_to(shell: Shell, line: str) -> None:
    pages = pages_of(shell, "a")
    part = [page for page in pages if page + PAGE > shell.ip.user_ns["a"].ctypes.data + 8192]
    assert is_behind(shell.run(f"%pte {line}").result, part)


@pytest.mark.parametrize(
    "line", ["np.ones(1 << 20)*2", "np.ones(1 << 20) * 2", "-np.ones(1 << 20)", "self np.ones(1 << 20) *2"]
)
def test_a_temporary_is_held_while_it_is_walked(shell: Shell, line: str) -> None:
    found = shell.run(f"%pte -- {line}" if line.startswith("-") else f"%pte {line}").result
    assert set(found["state"]) == {"present"}
    assert found["size"].sum() >= 8 << 20


def test_names_of_a_function_are_seen(shell: Shell) -> None:
    code = """
    def look():
        inner = np.ones(4096)
        return get_ipython().run_line_magic("pte", "inner"), inner.ctypes.data
    look()
    """
    found, address = shell.run(code).result
    assert is_behind(found, range(address // PAGE * PAGE, address + 4096 * 8, PAGE))


def test_a_name_that_is_defined_goes_before_a_region(shell: Shell) -> None:
    region = shell.run("%pte heap").result
    mine = shell.run("heap = np.ones(512)\n%pte heap").result
    assert is_behind(mine, pages_of(shell, "heap"))
    assert len(shell.run("%pte [heap]").result) > len(mine)
    assert shell.run("del heap\n%pte heap").result["vaddr"][0] == region["vaddr"][0]


def test_a_string_is_an_object_and_a_number_an_address(shell: Shell) -> None:
    assert shell.run("%pte 'all'").result["size"].sum() <= 2 * PAGE
    pages = pages_of(shell, "a")
    assert is_behind(shell.run("%pte a.ctypes.data").result.iloc[-1:], pages[:1])


def test_all_is_everything(shell: Shell) -> None:
    assert shell.run("%pte all").result["size"].sum() == user_limit()


@pytest.mark.parametrize("line", ["{pid}", "{pid} all", "child.pid all"])
def test_a_whole_process_is_shown_by_region(shell: Shell, waiting: subprocess.Popen[bytes], line: str) -> None:
    cell = shell.run(f"%pte {line.format(pid=waiting.pid)}")
    assert len(cell.result) > len(cell.result.regions())
    for shown in (repr(cell.result), cell.result._repr_html_()):
        assert re.search(r"[0-9]+ regions, .* resident", shown)
        assert "[heap]" in shown
        assert "%pte --runs all" in shown
    for option in ("--runs", "--tables"):
        assert "bits that are set" in repr(shell.run(f"%pte {option} {waiting.pid}").result)


@pytest.mark.parametrize("who", ["{pid}", "child.pid", "child", "int('{pid}')"])
@pytest.mark.parametrize("what", ["[heap]", "heap"])
def test_another_process(shell: Shell, waiting: subprocess.Popen[bytes], who: str, what: str) -> None:
    cell = shell.run(f"%pte {who.format(pid=waiting.pid)} {what}")
    assert set(cell.result["pid"]) == {waiting.pid}
    expected = pte_magic.walk("[heap]", pid=waiting.pid)
    assert cell.result["vaddr"].tolist() == expected["vaddr"].tolist()


@pytest.mark.parametrize("who", ["self", "os.getpid()", "{pid}"])
def test_this_process_by_its_pid(shell: Shell, who: str) -> None:
    line = f"%pte {who.format(pid=shell.run('os.getpid()').result)} a"
    assert is_behind(shell.run(line).result, pages_of(shell, "a"))


def test_an_address_of_this_process_in_another(shell: Shell, waiting: subprocess.Popen[bytes]) -> None:
    found = shell.run("%pte child.pid a").result
    assert found["vaddr"][0] <= pages_of(shell, "a")[0]
    assert set(found["pid"]) == {waiting.pid}


def test_an_odd_range_says_that_it_was_widened(shell: Shell) -> None:
    cell = shell.run("%pte 0x10001-0x12001;")
    assert cell.out == "0x10001-0x12001 was widened to whole pages: 0x10000-0x13000\n"


def test_loading_again_changes_nothing(shell: Shell) -> None:
    assert "already loaded" in shell.run("%load_ext pte_magic").out
    assert shell.run("%reload_ext pte_magic") == Cell(None, "", "")
    assert shell.complete("%pte --ru") == ["%pte --runs"]
    assert is_behind(shell.run("%pte a").result, pages_of(shell, "a"))


def test_unloading_takes_it_away(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell.run("%unload_ext pte_magic") == Cell(None, "", "")
    assert "`%pte` not found" in shell.run("%pte a").err
    assert "%pte --runs" not in shell.complete("%pte --ru")
    assert shell.run("%load_ext pte_magic") == Cell(None, "", "")
    assert is_behind(shell.run("%pte a").result, pages_of(shell, "a"))
    assert shell.complete("%pte --ru") == ["%pte --runs"]


def test_functions_work_after_unloading(tmp_path: Path) -> None:
    Shell(tmp_path).run("%unload_ext pte_magic")
    assert len(pte_magic.walk(np.ones(10)))


def test_magics_are_not_needed_by_the_rest() -> None:
    code = "import sys; sys.modules['IPython'] = None; import pte_magic; print(len(pte_magic.walk(b'x')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1", "")
