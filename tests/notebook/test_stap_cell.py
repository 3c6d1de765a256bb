"""``%%stap`` where nothing is loaded into a kernel: options, values, and what is said where something is missing."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from shells import Cell, Shell

from pte_magic.notebook.stap_cell import Output, Request, request
from pte_magic.systemtap import module_cache, toolchain
from pte_magic.systemtap.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = 'probe begin { println("hello"); exit() }'


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test here gets as far as to compile, wherever it runs: there is no SystemTap on this path."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    toolchain.version.cache_clear()
    yield
    toolchain.version.cache_clear()
    assert not (tmp_path / "cache").exists()


def asked(line: str, text: str = HELLO, **names: Any) -> Request:
    found = request(line, text, names)
    assert found
    return found


def test_the_line_says_what_is_compiled() -> None:
    array = np.arange(3)
    line = f"-g -D A=1 -D 'B=2 3' -I {Path.cwd()} -- 7 'two words' \"$\" $n*2 $word $a -g"
    found = asked(line, n=4, word="x y", a=array)
    assert found.script.options == ("-g", "-DA=1", "-DB=2 3")
    assert found.script.include == (toolchain.TAPSET, Path.cwd())
    assert found.script.arguments == ("7", "two words", "$", "8", "x y", str(array.ctypes.data), "-g")
    assert found.script.name == "pte_magic_cell"


def test_what_only_matters_when_it_runs_is_not_compiled() -> None:
    plain = asked("", "probe begin { println($n) }", n=1).script
    line = f"-x {os.getppid()} -T 5 -o name --table -s 64 -v"
    assert asked(line, "probe begin { println($n) }", n=2).script == plain
    assert asked(line, "probe begin { println($n) }\n \n\n", n=2).script == plain


@pytest.mark.parametrize("line", ["", "-x self", "--target os.getpid()", "-x me", f"-x {os.getpid()}"])
def test_this_process_is_the_target(line: str) -> None:
    me = type("Process", (), {"pid": os.getpid()})
    assert asked(line, os=os, me=me).target == os.getpid()


def test_another_process_is_the_target() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        assert asked("-x child", child=child).target == child.pid
        assert asked("-x child.pid", child=child).target == child.pid
        child.kill()


@pytest.mark.parametrize("line", ["-h", "--help", "-x nonsense --help"])
def test_help_is_asked_for(line: str) -> None:
    assert request(line, "", {}) is None


def test_help_says_how_to_use_it(shell: Shell) -> None:
    assert_one_line(
        shell.run("%stap -g"), "%stap shows help; type the options after %%stap, and the script in the lines"
    )
    asked_for = shell.run("%stap --help")
    assert asked_for.result is None
    assert asked_for.err == ""
    for text in (asked_for.out, shell.run("%stap").out, shell.run("%%stap?").out, shell.run("%%stap -h\n#").out):
        for words in ("%%stap [-x PID]", "-T SECONDS", "--table", "Interrupt the kernel", '@var("first")', "printf("):
            assert words in text
        assert "%s\\n" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--nonsense", "--nonsense is not an option; the options are --target, --guru, --timeout, --out, --table, "),
        ("--tabel", "--tabel is not an option; did you mean '--table'?"),
        ("-T 1 -T 2", "--timeout is typed 2 times; type it once"),
        ("7 --table 8", "--table stands within the target"),
        ("-x", "--target needs a value; type --target PID"),
        ("-x nonsense", "name 'nonsense' is not defined"),
        ("-x 1/0", "1/0: ZeroDivisionError: division by zero"),
        ("-x 'text'", "\"'text'\" is not a pid; type a number, or an object that has a pid"),
        ("-x 999999999", "pid 999999999: no such process; "),
        ("-x -1", "pid -1: no such process; "),
        ("-x 0", "pid 0: no such process; "),
        ("-T soon", "argument -T/--timeout: 'soon' is not a number of seconds"),
        ("-T 0", "'0' is not a number of seconds"),
        ("-T nan", "'nan' is not a number of seconds"),
        ("-T inf", "'inf' is not a number of seconds"),
        ("-o 5x", "argument -o/--out: '5x' is not a name for a variable"),
        ("-o for", "argument -o/--out: 'for' is not a name for a variable"),
        ("-s 0", "argument -s/--buffer: '0' is not a number from 1 to 4095"),
        ("-s 1.5", "'1.5' is not a number from 1 to 4095"),
        ("-I /nonsense", "argument -I: there is no directory /nonsense"),
        ("-- $nonsense", "name 'nonsense' is not defined"),
        ("-- $[1]", "$[1] is a list, and SystemTap takes numbers, texts and arrays"),
        ("-- 'a", "no closing quotation"),
        ("'a", "no closing quotation"),
    ],
)
def test_a_bad_line_is_one_line(shell: Shell, line: str, message: str) -> None:
    assert_one_line(shell.run(f"%%stap {line}\n{HELLO}"), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n  \n", "the cell is empty; type a script below %%stap, such as probe begin { "),
        (
            "probe begin { print($ratio) }",
            "$ratio is 0.5, and SystemTap has whole numbers only; type ",
        ),
        ("probe begin { print($items) }", '@var("items")'),
    ],
)
def test_a_bad_cell_is_one_line(shell: Shell, text: str, message: str) -> None:
    shell.run("ratio, items = 0.5, [1]")
    assert_one_line(shell.run(f"%%stap\n{text}"), message)


def assert_one_line(cell: Cell, message: str) -> None:
    assert cell.result is None
    printed = (cell.out + cell.err).strip()
    assert printed.startswith("UsageError: ")
    assert message in printed
    assert len(printed.splitlines()) == 1


class Installed:
    """Programs that are on the path, and do nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *names: str) -> None:
        for name in names:
            (self.directory / name).write_text("#!/bin/sh\n", encoding="ascii")
            (self.directory / name).chmod(0o755)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Install programs, on a kernel that loads modules."""
    (tmp_path / "modules").touch()
    monkeypatch.setattr(toolchain, "_MODULES", tmp_path / "modules")
    monkeypatch.setattr(toolchain, "_DISABLED", tmp_path / "nothing")
    return Installed(tmp_path / "bin")


def test_a_kernel_without_modules(shell: Shell, installed: Installed, tmp_path: Path) -> None:
    installed("stap", "staprun")
    (tmp_path / "modules").unlink()
    assert_one_line(shell.run(f"%%stap\n{HELLO}"), "this kernel loads no modules (CONFIG_MODULES is off)")


def test_systemtap_is_not_installed(shell: Shell, installed: Installed) -> None:
    cell = shell.run(f"%%stap -o kept\n{HELLO}")
    assert_one_line(cell, "staprun is not installed; type `sudo apt install systemtap` (or `dnf install systemtap`)")
    assert "kept" not in shell.ip.user_ns
    installed("staprun")
    if os.geteuid() == 0:
        cell = shell.run(f"%%stap\n{HELLO}")
        assert_one_line(cell, "stap is not installed; type `sudo apt install systemtap` (or `dnf install systemtap`)")


def test_another_user(shell: Shell, installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("stap", "staprun")
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(toolchain, "_member", lambda _: False)
    assert_one_line(
        shell.run(f"%%stap\n{HELLO}"), "not root, and not in the group stapusr and stapdev; type `sudo usermod "
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others may load nothing")
def test_headers_are_not_installed(shell: Shell, installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("stap", "staprun")
    monkeypatch.setattr(platform, "release", lambda: "1.2.3-nonsense")
    expected = (
        "the headers of kernel 1.2.3-nonsense are not installed; type `sudo apt install linux-headers-1.2.3-nonsense`"
    )
    assert_one_line(shell.run(f"%%stap\n{HELLO}"), expected)


def test_what_was_printed_is_a_text_that_shows_nothing(shell: Shell) -> None:
    shell.ip.user_ns["printed"] = Output("all\nof it\n")
    cell = shell.run("printed")
    assert cell.result == "all\nof it\n"
    assert "all" not in cell.out
    assert shell.run("print(printed, end='')").out == "all\nof it\n"
    assert shell.run("printed.splitlines()").result == ["all", "of it"]


def test_unloading_takes_it_away(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert "stap" in shell.ip.magics_manager.magics["cell"]
    shell.run("%unload_ext pte_magic")
    assert "stap" not in {**shell.ip.magics_manager.magics["cell"], **shell.ip.magics_manager.magics["line"]}


def test_the_key_of_a_module_changes_with_all_that_it_depends_on(tmp_path: Path) -> None:
    tapset = tmp_path / "tapset"
    tapset.mkdir()
    (tapset / "one.stp").write_text("# one", encoding="ascii")
    plain = Script("probe begin {}", "name", include=(tapset,))
    places = {module_cache._place(plain, "1.2")}
    assert places == {module_cache._place(plain, "1.2")}
    for other in (
        Script("probe end {}", "name", include=(tapset,)),
        Script("probe begin {}", "other", include=(tapset,)),
        Script("probe begin {}", "name", ("-g",), include=(tapset,)),
        Script("probe begin {}", "name", (), ("-g",), include=(tapset,)),
        Script("probe begin {}", "name", include=()),
    ):
        places.add(module_cache._place(other, "1.2"))
    places.add(module_cache._place(plain, "1.3"))
    (tapset / "one.stp").write_text("# two", encoding="ascii")
    places.add(module_cache._place(plain, "1.2"))
    (tapset / "two.stpm").write_text("# two", encoding="ascii")
    places.add(module_cache._place(plain, "1.2"))
    places |= {module_cache._place(plain, "1.2", machine) for machine in ("arm64", "x86_32", "x86_64")}
    assert len(places) == 11  # one of these is this machine
