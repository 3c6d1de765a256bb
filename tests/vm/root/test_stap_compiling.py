"""Compiling cells with the real SystemTap: what it says about mistakes, interrupts, and what is left behind.

Run in the lab's root by tests/vm/test_root.py, with this machine's kernel, as nothing here is loaded.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import SECONDS, wait_until

from pte_magic.errors import SystemTapError
from pte_magic.linux.interrupts import Interrupts
from pte_magic.notebook.stap.messages import explain
from pte_magic.notebook.stap_cell import request
from pte_magic.systemtap import module_cache, toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = Path("/lib/modules")
RELEASES = sorted(path.parent.name for path in MODULES.glob("*/build") if (path.parent / "kernel").exists())
"""Kernels of this machine; of other machines there are headers alone."""
if not toolchain.version() or not RELEASES:
    pytest.skip("needs SystemTap and a kernel's headers, as in the lab's root", allow_module_level=True)
RELEASE = RELEASES[-1]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, but for what stap has learnt about the kernel; and nothing else is left behind."""
    learnt = module_cache.directory() / "stap"
    learnt.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module_cache.directory().mkdir(parents=True)
    (module_cache.directory() / "stap").symlink_to(learnt)
    others = programs()
    yield module_cache.directory()
    wait_until(lambda: programs() <= others, instead=programs)
    assert not list(Path("/tmp").glob("pte-magic-*"))  # noqa: S108  (where they would be)
    assert not list(Path("/tmp").glob("stap*"))  # noqa: S108
    assert not list(module_cache.directory().glob(".part-*"))


def programs() -> set[tuple[int, str]]:
    """All processes but those of Python."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, name, state = re.match(r"(\d+) \((.*)\) (.)", path.read_text(encoding="utf-8")).groups()  # type: ignore[union-attr]
        except OSError:
            continue
        if state != "Z" and not name.startswith("python"):
            found.add((int(pid), name))
    return found


def compiled(text: str, line: str = "", names: dict[str, Any] | None = None) -> Path:
    """Compile a cell as the magic does."""
    asked = request(line, text, names or {})
    assert asked
    try:
        return module_cache.compiled(asked.script, RELEASE)
    except SystemTapError as error:
        raise SystemTapError(explain(str(error), asked.cell)) from error


@pytest.mark.parametrize(
    ("line", "text", "lines"),
    [
        (
            "",
            "probe begin {\n  x = $n . $text\n  y = $n; printl($n, z) }",
            [
                "semantic error: unresolved function printl",
                "at line 4, column 11 of the cell",
                "        source:   y = $n; printl($n, z) }",
                "                          ^",
            ],
        ),
        (
            "",
            "probe begin {\n  x = $n + $text\n  print(x) }",
            ["semantic error: type mismatch", "at line 3, column 12 of the cell", "        source:   x = $n + $text"],
        ),
        (
            "",
            "probe kernel.trace($text) { print($nothing) }",
            ["similar tracepoints", "at line 2, column 7 of the cell", "        source: probe kernel.trace($text)"],
        ),
        (
            "",
            "probe begin { print($nothing) }",
            ["($nothing is neither a variable of Python nor one of "],
        ),
        ("", "probe begin { print(1)", ["parse error: expected statement", "        saw: pte_magic_cell.stp EOF"]),
        ("", "function f() %{ %}\nprobe begin { f() }", ["line 2, column 14 of the cell", "(type %%stap -g)"]),
        (
            "-g",
            "%{\n#include <linux/mm.h>\n%}\nfunction f:long() %{\n  STAP_RETURN(zork);\n%}\nprobe begin { print(f()) }",
            [
                "undeclared (first use in this function) at line 6, column 15 of the cell",
                " source:   STAP_RETURN(zork);",
                "                       ^",
            ],
        ),
    ],
    ids=["function", "type", "tracepoint", "variable", "end", "guru", "C"],
)
def test_a_mistake_is_where_it_was_typed(line: str, text: str, lines: list[str]) -> None:
    with pytest.raises(SystemTapError) as raised:
        compiled(text, line, {"n": 5, "text": "a text"})
    for words in lines:
        assert words in str(raised.value)
    for noise in ("WARNING: Kernel function symbol", "Pass ", "[man ", "Tip:", "make[", "__python_", "within tested"):
        assert noise not in str(raised.value)


def test_arguments_are_no_options_and_warnings_are_told() -> None:
    asked = request("-- -5 --nonsense", 'probe begin { x = 1\n printf("%d %s", $1, @2) }', {})
    assert asked
    told: list[str] = []
    module = module_cache.compiled(asked.script, RELEASE, hear=told.append)
    assert module.read_bytes()[:4] == b"\x7fELF"
    assert explain(told[0], asked.cell).splitlines()[0] == (
        "WARNING: Eliding assignment to 'x': operator '=' at line 2, column 17 of the cell"
    )
    assert module_cache.compiled(asked.script, RELEASE, hear=told.append) == module
    assert len(told) == 1


def test_a_kernel_that_takes_signed_modules_only(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """stap makes a key, as nobody has enrolled one; what to type is passed on."""
    (cache / "stap").unlink()
    (tmp_path / "lockdown").write_text("none [integrity] confidentiality\n", encoding="ascii")
    monkeypatch.setattr(toolchain, "_LOCKDOWN", tmp_path / "lockdown")
    with pytest.raises(SystemTapError) as error:
        compiled("probe begin { print(6) }")
    first, second = str(error.value).splitlines()
    assert first == "the module cannot be signed"
    found = re.search("`sudo mokutil --import (.*)`", second)
    assert found
    assert Path(found[1]).is_relative_to(cache / "stap")
    assert Path(found[1]).exists()


def test_two_compile_the_same_at_once() -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(compiled, ["probe begin { print(2) }"] * 2)
    assert one == two
    assert one.exists()


@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0])
def test_an_interrupt_while_it_compiles(cache: Path, seconds: float) -> None:
    thread = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))

    def interrupted() -> None:
        thread.start()
        compiled("probe begin { print(3) }")

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < seconds + SECONDS
    thread.join()
    assert [path.name for path in cache.iterdir()] == ["stap"]


def test_interrupts_without_patience(cache: Path) -> None:
    """stap that is told to end for the second time does not wait for its compilers, which write on."""
    others = programs()

    def interrupt() -> None:
        wait_until(lambda: any(name == "cc1" for _, name in programs() - others))
        for _ in range(4):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)

    def interrupted() -> None:
        with Interrupts(), ThreadPoolExecutor(1) as pool:  # those that come too late come before the pool has ended
            pool.submit(interrupt)
            compiled("probe begin { print(5) }")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in cache.iterdir()] == ["stap"]


COMPILE = """
from pte_magic.systemtap import module_cache
from pte_magic.systemtap.script import Script
module_cache.compiled(Script("probe begin { print(4) }", "pte_magic_cell"), %r)
"""


def test_python_is_killed_while_it_compiles(cache: Path) -> None:
    others = programs()
    with subprocess.Popen([sys.executable, "-c", COMPILE % RELEASE], stderr=subprocess.DEVNULL) as python:
        wait_until(lambda: any(name == "cc1" for _, name in programs() - others))
        python.kill()
    wait_until(lambda: programs() <= others, instead=programs)
    assert [path.name for path in cache.iterdir()] == ["stap"]


def test_the_oldest_is_forgotten(cache: Path) -> None:
    old = time.time() - 2 * 86400
    for number in range(70):
        (cache / f"{number}").mkdir()
        (cache / f"{number}/x.ko").touch()
        os.utime(cache / f"{number}", (old + number, old + number))
    (cache / ".part-old").mkdir()
    os.utime(cache / ".part-old", (old, old))
    module = compiled("probe begin { print(2) }")
    names = {path.name for path in cache.iterdir()}
    assert names == {"stap", module.parent.name, *(f"{number}" for number in range(7, 70))}
    compiled("probe begin { print(2) }")
    assert {path.name for path in cache.iterdir()} == names
