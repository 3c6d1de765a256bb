"""The line of ``%%pte``: what is wrong with it is said before the cell runs, and Tab completes it."""

from __future__ import annotations

import pytest
from shells import Shell


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    shell.run("import asyncio, mmap\nheld = mmap.mmap(-1, 1 << 16); m = np.frombuffer(held, np.uint8)")
    return shell


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "a target is missing; type one, such as %%pte a, or %%pte a, child.pid a"),
        ("m,", "a target is missing; "),
        ("later", "this cell creates 'later', so there is no 'before' to compare with; create it in a cell above"),
        ("later[1:]", "this cell creates 'later'"),
        ("nonsense", "name 'nonsense' is not defined, here or as a region; see %pte? for possible targets"),
        ("hled", "name 'hled' is not defined; did you mean 'held'?"),
        ("outt", "name 'outt' is not defined; did you mean '--out'?"),
        ("--setle 3 m", "--setle is not an option; did you mean '--settle'?"),
        ("--out x --out y m", "--out is typed 2 times; type it once"),
        ("m, 1/0", "1/0: ZeroDivisionError: division by zero"),
        ("999999999 [heap]", "pid 999999999: no such process; "),
        ("-w gdb m", "walker 'gdb' does not exist; type one of auto, bpf, helper, stap, pagemap"),
        ("--settle soon m", "argument --settle: 'soon' is not a number of seconds"),
        ("--settle -1 m", "argument --settle: "),
        ("-o 5x m", "argument -o/--out: '5x' is not a name for a variable"),
        (
            "--nonsense m",
            "--nonsense is not an option; the options are --walker, --settle, --map, --color, --out, --faults, --no-",
        ),
        ("--why m", "--why goes without a cell; type %pte --why"),
        ("'m", "unterminated string literal (detected at line 1), at letter 1 of 2"),
    ],
)
def test_bad_input_is_one_line_and_the_cell_is_not_run(shell: Shell, line: str, message: str) -> None:
    shell.ip.user_ns.pop("later", None)
    cell = shell.run(f"%%pte {line}\nlater = 5")
    printed = (cell.out + cell.err).strip()
    assert printed.startswith("UsageError: ")
    assert message in printed
    assert len(printed.splitlines()) == 1
    assert "later" not in shell.ip.user_ns


@pytest.mark.parametrize("line", ["%%pte?", "%%pte -h\nran = 1", "%%pte m --help\nawait asyncio.sleep(0)\nran = 1"])
def test_help_says_how_to_use_it(shell: Shell, line: str) -> None:
    cell = shell.run(line)
    assert "ran" not in shell.ip.user_ns
    assert cell.err == ""
    for words in ("%%pte [-w NAME]", "%%pte a, child.pid a", "--settle SECONDS", "--out NAME"):
        assert words in cell.out


def test_options_and_regions_are_completed(shell: Shell) -> None:
    assert shell.complete("%%pte --") == [
        f"%%pte --{name}"
        for name in (
            *("walker", "settle", "map", "color", "out"),
            *("faults", "no-lines", "source", "children", "max", "buffer", "help"),
        )
    ]
    assert shell.complete("%%pte m --o") == ["%%pte m --out"]
    assert "%%pte [heap]" in shell.complete("%%pte [he")
