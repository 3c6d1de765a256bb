"""Every two options of ``%pte`` both have an effect, or are refused in one line that says what to type."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from conftest import forked, needs_root
from shells import Shell

from pte_magic import PageCache, Processes, PteFrame, Variables, Why
from pte_magic.api.watch import Watch
from pte_magic.notebook import option_combinations as table
from pte_magic.notebook.extension import PteMagics
from pte_magic.notebook.options_and_target import long_options
from pte_magic.notebook.pte_cell import DiffMagics
from pte_magic.views.bits import BitField
from pte_magic.views.page_map.page_map import PageMap
from pte_magic.views.translation import Translation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shells import Cell

OPTIONS = [option for option in long_options(PteMagics.pte) if option != "--help"]
VALUES = {"--walker": "auto", "--every": "7", "--decode": "0x80000001530160e7", "--level": "pmd", "--color": "size"}
VALUES |= {"--pid": "child", "--file": "/etc/passwd"}
NEEDS = {"--every": ("--watch",), "--level": ("--decode",), "--try": ("--why",), "--pid": ("--vars",)}
ALONE = {"--machine", "--decode", "--doctor", "--vars", "--pid", "--file"}  # without a target


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    shell.run("import mmap, subprocess; m = mmap.mmap(-1, 4 << 20)\nfor i in range(len(m) >> 12): m[i << 12] = 1")
    shell.run("address = np.frombuffer(m, np.uint8).ctypes.data")
    with forked(lambda: None) as child:
        shell.ip.user_ns["child"] = child
        yield shell
    shell.ip.run_line_magic("unload_ext", "pte_magic")


def seen(cell: Cell) -> object:
    """Return what a person would see the difference by."""
    found = cell.result
    looks: dict[type, Callable[[Any], object]] = {
        # The kernel may move pages meanwhile, which makes other runs of the same entries.
        PteFrame: lambda frame: (list(frame.columns), frame["entries"].sum() if "entries" in frame else len(frame),
                                 set(frame["walker"]) if "walker" in frame else None, set(frame["level"])),
        BitField: lambda bits: (bits.entry, bits.level),
        PageMap: lambda picture: (len(picture.frame), picture.color),
        Translation: lambda picture: picture.address,
        Watch: lambda watch: (watch._every, watch._walker),
        Variables: lambda found: found.attrs["pid"],
        PageCache: lambda found: found.attrs["path"],
        Processes: lambda processes: set(processes["walker"]),
        Why: lambda why: "MADV_COLLAPSE" in set(why["check"]),
    }  # fmt: skip
    if isinstance(found, Watch):
        found.stop()
    if found is None:
        return cell.err
    look = next((look for kind, look in looks.items() if isinstance(found, kind)), None)
    rows = found.index.tolist() if isinstance(found, pd.DataFrame) else ""
    return type(found).__name__, look(found) if look else rows


def line(target: str, *options: str) -> str:
    return " ".join(["%pte", *(f"{option} {VALUES.get(option, '')}" for option in options), target])


@needs_root
@pytest.mark.parametrize(("one", "other"), list(combinations(OPTIONS, 2)))
def test_two_options_both_have_an_effect_or_are_refused(shell: Shell, one: str, other: str) -> None:
    # Tables are shown of an address by default, and not of an object.
    target = "m" if "--tables" in (one, other) else "address"
    if {one, other} & ALONE:
        target = ""
    cell = shell.run(line(target, one, other))
    both = seen(cell)
    if cell.result is None:
        assert cell.err.startswith("UsageError: ")
        assert len(cell.err.strip().splitlines()) == 1
        assert "type " in cell.err
        assert one in cell.err or other in cell.err
        return
    assert both != seen(shell.run(line(target, one)))
    if "--walker" in (one, other):
        wrong = shell.run(line(target, one, other).replace("--walker auto", "--walker nope"))
        assert "walker 'nope' does not exist" in wrong.err
    else:
        assert both != seen(shell.run(line(target, other)))


@needs_root
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_typed_twice_counts_once_and_a_value_is_typed_once(shell: Shell, option: str) -> None:
    target = "" if option in ALONE else "m"
    others = {"--every": ("--watch",), "--level": ("--decode",), "--try": ("--why",), "--pid": ("--vars",)}.get(
        option, ()
    )
    typed = [line(target, *others, option, option)]
    if target:  # also after it
        typed.append(f"{line('m', *others)} {line('', option, option).removeprefix('%pte ')}")
    for one in typed:
        cell = shell.run(one)
        if option in VALUES:
            assert cell.err == f"UsageError: {option} is typed 2 times; type it once\n"
        else:
            assert cell.err == ""
            assert seen(cell) == seen(shell.run(line(target, *others, option)))


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in {*ALONE, *VALUES}])
def test_an_option_typed_twice_without_a_target_says_what_to_type(shell: Shell, option: str) -> None:
    assert shell.run(f"%pte {option} {option}").err == shell.run(f"%pte {option}").err


def test_the_order_of_two_options_does_not_matter() -> None:
    for one, other in combinations([option.removeprefix("--") for option in OPTIONS], 2):
        assert table.go_together(one, other) == table.go_together(other, one)
    table.check(["bits", "level", "decode"], "")
    table.check(["no-tables", "runs", "walker"], "a")


def test_each_option_is_in_the_table() -> None:
    named = {name for one, others in table._TOGETHER.items() for name in (one, *others)}
    assert {f"--{name}" for name in named} == set(OPTIONS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--doctor a", "--doctor is about the walkers; type %pte --doctor"),
        ("--level pmd a", "--level goes with --decode; type %pte --decode VALUE --level LEVEL"),
        ("--level pmd", "--level goes with --decode; "),
        ("--decode 0x67 a", "--decode is about a value; type %pte --decode VALUE"),
        ("--decode 0x67 --walker pagemap", "--decode is about a value; type %pte --decode VALUE"),
        ("--decode 0x67 --every 2", "--decode is about a value; type %pte --decode VALUE"),
        ("--machine a", "--machine is about all processes; type %pte --machine, or %pte --machine --map"),
        ("--machine --tables", "--machine is about all processes; type %pte --machine"),
        ("--machine --map --runs", "--runs and --map are different views; type one of them"),
        ("--walker nope", "--walker needs a target; type %pte --walker NAME TARGET"),
        ("--map", "--map needs a target; type %pte --map TARGET, such as the name of an array"),
        ("--bits", "--bits needs a target; type %pte --bits TARGET"),
        ("--watch --every 3", "--watch needs a target; type %pte --watch TARGET"),
        ("--tables --runs", "--runs needs a target; type %pte --runs TARGET"),
        ("--translation --tables a", "--translation does not go with --tables; type %pte --translation ADDRESS"),
        ("--watch --no-tables a", "--watch does not go with --no-tables; type %pte --watch TARGET"),
        ("--every 3 a", "--every goes with --watch; type %pte --watch --every SECONDS TARGET"),
        ("--every 3 --watch --no-tables a", "--every does not go with --no-tables; type %pte --watch TARGET"),
        ("--every 3 --map a", "--every goes with --watch; type %pte --watch --every SECONDS TARGET"),
        ("--runs --summary --frames a", "--runs and --summary and --frames are different views; type one of them"),
    ],
)
def test_what_would_be_ignored_is_refused(shell: Shell, line: str, message: str) -> None:
    cell = shell.run(f"%pte {line}")
    assert cell.err.startswith(f"UsageError: {message}")
    assert len(cell.err.strip().splitlines()) == 1


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in {*ALONE, "--shared"} - {"--pid"}])
def test_an_option_without_a_target_says_what_to_type(shell: Shell, option: str) -> None:
    cell = shell.run(line("", option))
    assert cell.result is None
    assert f"type %pte --{'decode VALUE ' if option == '--level' else ''}" in cell.err


@pytest.mark.parametrize("others", ["", "--runs", "a", "--walker nope", "--machine a --decode 5"])
def test_help_goes_with_everything(shell: Shell, others: str) -> None:
    for option in ("-h", "--help"):
        cell = shell.run(f"%pte {option} {others}")
        assert (cell.result, cell.err) == (None, "")
        assert "%pte START-END" in cell.out


def test_all_options_of_the_cell_magic_have_an_effect_together(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    of_faults = ["--faults", "--no-lines", "--source", "--children", "--max", "--buffer"]  # see test_faults_cell
    options = [name for name in long_options(DiffMagics.difference) if name not in of_faults]
    assert options == ["--walker", "--settle", "--map", "--color", "--out", "--help"]
    waited: list[float] = []
    monkeypatch.setattr("pte_magic.notebook.pte_cell.settle", lambda _, seconds: waited.append(seconds))
    cell = shell.run("%%pte --walker pagemap --settle 5 --out kept m\nm[0] = 2")
    assert waited == [5]
    assert cell.result is shell.ip.user_ns["kept"]
    assert "walker 'nope' does not exist" in shell.run("%%pte --walker nope --settle 5 --out other m\n1").err
    assert "other" not in shell.ip.user_ns
