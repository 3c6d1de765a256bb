"""What is typed into whole cells, in each way in which a magic can be called: what Python would make of it is shown."""

from __future__ import annotations

import mmap
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from conftest import needs_root
from handmade import PAGE
from shells import Shell

import pte_magic

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = ("%pte {line}", "get_ipython().run_line_magic('pte', {text})", "kept = %pte {line}")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell with arrays that nobody else's pages are near, so their entries stay as they are."""
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        held = mmap.mmap(-1, 64 * PAGE)
        held.write(b"x" * len(held))
        b = np.frombuffer(held, np.uint8).reshape(64, PAGE)
        shell.ip.user_ns.update(
            b=b, c=b[7], größe=b[9], d={"--x": b[3], "a, b": b[4], "#": b[5], ";": b[6]}, child=child
        )
        shell.run("x, pid, key = 1, os.getpid(), '#'\ndef f(one, *more, last=None): return one")
        yield shell
        child.kill()


def shown(shell: Shell, way: str, line: str) -> Any:
    shell.ip.user_ns["kept"] = None
    cell = shell.run(way.format(line=line, text=repr(line)))
    assert cell.err == ""
    return shell.ip.user_ns["kept"] if way.startswith("kept") else cell.result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("b[:, -1]", "b[:, -1]"),
        ("b.reshape(32, -1)", "b"),
        ("b[::-1]", "b"),
        ("b[-1:]", "b[-1:]"),
        ("b [ 2 : 5 ]", "b[2:5]"),
        ("-- b[2:5]", "b[2:5]"),
        ("d['--x']", "b[3]"),
        ('d["a, b"]', "b[4]"),
        ("d['#']", "b[5]"),
        ("d[';']", "b[6]"),
        ("d[key]  # of d;", "b[5]"),
        ("größe", "b[9]"),
        ("f(b, *[1, -1], last=lambda q, r: q)", "b"),
        ("(lambda q, *r: q)(b, 1)", "b"),
        ("[v for v, w in [(b, c)]][-1]", "b"),
        ("d[f'{key}']", "b[5]"),
        ("{1: b, 2: c}[2]", "c"),
        ("1 and b", "b"),
        ("0 or c", "c"),
        ("1 if not x else c", "c"),
        ("self b[2:5]", "b[2:5]"),
        ("pid b[2:5]", "b[2:5]"),
        ("{pid} b[2:5]", "b[2:5]"),
        ("$pid c", "c"),
        ("c\t", "c"),
        ("c, b", "b"),
        ("c, d['--x'], d['a, b'], d['#'], d[';']", "b[3:8]"),
        ("c, c", "c"),
    ],
)
def test_the_target_is_what_python_makes_of_the_text(shell: Shell, way: str, line: str, same: str) -> None:
    expected = pte_magic.walk(eval(same, shell.ip.user_ns))  # noqa: S307  (from above)
    found = shown(shell, way, line)
    assert isinstance(found, pte_magic.PteFrame)
    same_columns = ["vaddr", "size", "pid", "walker"]  # the kernel may move a page between two looks
    pd.testing.assert_frame_equal(pd.DataFrame(found)[same_columns], pd.DataFrame(expected)[same_columns])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "line",
    ["--runs b[:, -1]", "-r b[:, -1]", "b[:, -1] --runs", "b[:, -1] -r", "--run -- b[:, -1]", "b[:, -1] --runs  # of b",
     "--runs\xa0b[:, -1]"],
)  # fmt: skip
def test_options_are_options_wherever_they_are(shell: Shell, way: str, line: str) -> None:
    found = shown(shell, way, line)
    assert found["entries"].sum() == 64
    assert found["bytes"].sum() == 64 * PAGE
    assert found["vaddr"][0] == shell.ip.user_ns["b"].ctypes.data


@pytest.mark.parametrize("line", ["b[:, -1];", "b[:, -1] ;  # nothing", "--runs d[';'];", "c, b;", "c.ctypes.data;"])
def test_a_semicolon_shows_nothing(shell: Shell, line: str) -> None:
    cell = shell.run(f"%pte {line}")
    assert (cell.result, cell.out, cell.err) == (None, "", "")


def test_several_processes_are_in_one_frame(shell: Shell) -> None:
    child = shell.ip.user_ns["child"]
    found = shell.run("%pte c, child.pid [stack], b[2:5]").result
    assert isinstance(found, pte_magic.PteFrame)
    mine = found[found["pid"] == shell.ip.user_ns["pid"]]
    assert mine["vaddr"].tolist() == [*pte_magic.walk(shell.ip.user_ns["b"][2:5])["vaddr"],
                                      *pte_magic.walk(shell.ip.user_ns["c"])["vaddr"]]  # fmt: skip
    theirs = found[found["pid"] == child.pid]
    assert theirs["vaddr"].tolist() == pte_magic.walk("[stack]", pid=child.pid)["vaddr"].tolist()
    assert len(found) == len(mine) + len(theirs)
    regions = shell.run("%pte --frames c, child.pid [stack]").result
    assert set(regions["region"][regions["pid"] == child.pid]) == {"[stack]"}
    assert "[stack]" not in set(regions["region"][regions["pid"] != child.pid])
    whole = shell.run("%pte --summary c, child.pid [stack]").result
    assert whole["bytes"].sum() == regions["size"].sum()


def test_an_assignment_in_the_expression_stays(shell: Shell) -> None:
    assert shell.run("%pte (made := b[2:5])").result is not None
    assert shell.ip.user_ns["made"].shape == (3, PAGE)
    shell.run("del made")


@needs_root
def test_the_address_of_a_translation_is_named(shell: Shell) -> None:
    address = shell.ip.user_ns["b"].ctypes.data
    cell = shell.run("%pte --translation b[2:, 5:]")
    assert cell.result.address == address + 2 * PAGE + 5
    assert cell.out.startswith(f"{address + 2 * PAGE + 5:#x}, the first byte of b[2:, 5:]\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "name 'nonsense' is not defined, here or as a region; see %pte? for possible targets"),
        ("nmopy", "name 'nmopy' is not defined"),
        ("arr", "name 'arr' is not defined; did you mean 'array'?"),
        ("arr[5:]", "name 'arr' is not defined; did you mean 'array'?"),
        ("runs", "name 'runs' is not defined; did you mean '--runs'?"),
        ("--sumary a", "--sumary is not an option; did you mean '--summary'?"),
        ("--walker bfp a", "did you mean 'bpf'?"),
        (
            "--decode 1 --level pmdd",
            "level 'pmdd' does not exist; type one of pgd, p4d, pud, pmd, pte; did you mean 'pmd'?",
        ),
        ("a a", "'a' is not a pid; type a number, or an object that has a pid; between two targets type a comma"),
        ("a,", "'a,': a target is missing at a comma; type %pte a, or %pte a, child.pid a"),
        ("a.reshape(7, -1)", "a.reshape(7, -1): ValueError: cannot reshape array of size 4096 into shape (7,newaxis)"),
        ("--translation a, array", "--translation shows one address, and 'a, array' names several targets; type one"),
        ("--map a, child.pid a", "a map is of one process; type %pte --map for each"),
        (
            "--watch a, child.pid a",
            "a watch is of one process; type %pte --watch for each",
        ),
        ("nonsense.x", "name 'nonsense' is not defined"),
        ("[nonsense]", "'[nonsense]' is not an address"),
        ("np.nonsense", "np.nonsense: AttributeError: "),
        ("1/0", "1/0: ZeroDivisionError: division by zero"),
        ("a[", "'a[' is not an address, region or Python expression: '[' was never closed, at letter 2 of 2"),
        ("999999999 [heap]", "pid 999999999: no such process; "),
        ("-1 [heap]", "pid -1: no such process; "),
        ("2 all", "pid 2: "),
        ("nonsense [heap]", "name 'nonsense' is not defined"),
        ("a [heap]", "'a' is not a pid; type a number, or an object that has a pid"),
        ("0xffff888000000000", "0xffff888000000000 is a kernel address; "),
        ("0x8000000000000000", "0x8000000000000000 is not canonical: "),
        ("-5", "-0x5 is not a 64-bit address; "),
        ("1 << 70", "0x400000000000000000 is not a 64-bit address; "),
        ("0x2000-0x1000", "0x2000-0x1000: the end lies before the start; "),
        ("np.empty(0)", "the ndarray holds 0 bytes, so there is no page to look at"),
        ("Gpu()", "the Gpu lies in the memory of a CUDA GPU, "),
        ("--walker gdb a", "walker 'gdb' does not exist; type one of auto, bpf, helper, stap, pagemap"),
        ("--nonsense a", "--nonsense is not an option; the options are --walker, --tables, "),
        ("--decode", "--decode needs a value; type --decode VALUE"),
        ("--decode nonsense", "name 'nonsense' is not defined"),
        ("--decode 0x10000000000000000", "0x10000000000000000 is not a 64-bit entry; "),
        ("7f68aba31000-", "'7f68aba31000-' is not a range; type START-END, as in /proc/PID/maps: "),
        ("7f00-7f01", "'7f00-7f01' is not a range; type it with 0x, such as 0x7f00-0x7f01"),
        ("0x7f00..7fff", "'0x7f00..7fff' is not a range; type it with 0x, such as 0x7f00-0x7fff"),
        ("nope.pid a", "name 'nope' is not defined"),
        ("--decode 1 --level pmt", "level 'pmt' does not exist; "),
        ("'a", "unterminated string literal (detected at line 1), at letter 1 of 2"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_bad_input_is_one_line(shell: Shell, way: str, line: str, message: str) -> None:
    shell.ip.user_ns["array"] = np.ones(9)
    shell.ip.user_ns["Gpu"] = type("Gpu", (), {"__dlpack_device__": lambda _: (2, 0)})
    cell = shell.run(way.format(line=line, text=repr(line)))
    assert cell.result is None
    printed = (cell.out + cell.err).strip()
    assert printed.startswith("UsageError: ")
    assert message in printed
    assert len(printed.splitlines()) == 1
