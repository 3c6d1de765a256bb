"""Text of the kernel: bytes, lines that line feeds end, and names of any bytes."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from conftest import descriptors
from hypothesis import example, given
from hypothesis import strategies as st

import pte_magic
from pte_magic.linux import hardware, kernel_text

DECODING = {"read_text", "splitlines", "uname", "gethostname", "node", "iterlines", "a text file"}
"""What decodes, or cuts lines, in a way of Python's."""
ELSEWHERE = {
    "api/live_text.py": {"splitlines"},  # text for a terminal, escaped before, as in views/
    "events/bpf_faults.py": {"splitlines"},  # the verifier's log
    "linux/hardware.py": {"uname"},  # of the architecture
    "helper/install_service.py": {"read_text"},  # a template of ours
    "helper/python_location.py": {"splitlines"},  # what Python says
    "linux/kernel_text.py": {"uname"},
    "notebook/stap/messages.py": {"splitlines"},  # escaped before
    "views/entry_picture.py": {"splitlines"},
    "views/pandas_table.py": {"splitlines"},
    "views/text_table.py": {"splitlines"},
    "views/watch_history.py": {"splitlines"},
    "views/markup.py": {"read_text"},  # style sheets and scripts of ours
    "walkers/bpf/walker.py": {"splitlines"},  # the verifier's log
    "walkers/stap.py": {"read_text"},  # a script of ours
    "walkers/what_to_type.py": {"read_text"},  # a unit of ours
}
"""Where that is about something else than text of the kernel."""

NAMES = st.binary(min_size=1).map(lambda name: name.replace(b"\n", b"").replace(b"\0", b"")).filter(bool)


@given(st.lists(NAMES | st.just(b""), min_size=1))
@example([b"vt\x0b\x0c\r\x1c\x1d\x1e\xc2\x85\xe2\x80\xa8\xe2\x80\xa9Name:\tzz", b"\r", b"", b""])
def test_only_line_feeds_end_lines(names: list[bytes]) -> None:
    assert kernel_text.lines(b"".join(name + b"\n" for name in names)) == names


def test_an_empty_file_has_no_lines() -> None:
    assert kernel_text.lines(b"") == []
    assert kernel_text.lines(b"\n") == [b""]


def test_fields_are_those_of_status() -> None:
    found = kernel_text.fields(Path("/proc/self/status").read_bytes())
    assert int(found["Pid"]) == os.getpid()
    assert found["Uid"].split() == [b"%d" % uid for uid in (*os.getresuid(), os.geteuid())]
    assert found["Name"] + b"\n" == Path("/proc/self/comm").read_bytes()
    assert kernel_text.fields(b"Name:\t\t a: b \nVmRSS:\t    12 kB\nx\xff:1\nno colon\n") == {
        "Name": b"\t a: b ", "VmRSS": b"12 kB", r"x\xff": b"1", "no colon": b""
    }  # fmt: skip


@given(st.binary())
def test_whatever_it_is_can_be_shown(raw: bytes) -> None:
    assert kernel_text.shown(raw).encode().decode() == kernel_text.shown(raw)
    assert len(kernel_text.shown(raw).splitlines()) <= 1


def test_bytes_that_are_no_text_are_told_apart() -> None:
    assert kernel_text.shown("приложение-сервер".encode()[:15]) == r"приложе\xd0"
    assert kernel_text.shown(b"a\xe9\x1b\x85") == r"a\xe9\x1b\x85"
    assert kernel_text.shown("é\x85".encode()) == r"é\x85"


@given(st.binary().filter(lambda name: b"\0" not in name))
def test_what_python_made_of_a_name_is_its_bytes_again(raw: bytes) -> None:
    assert kernel_text.exact(os.fsdecode(raw)) == raw


def test_half_a_pair_is_a_name_that_nobody_has() -> None:
    assert kernel_text.exact("\ud800") == rb"\ud800"


@given(st.binary())
def test_octal_escapes_of_the_kernel_are_undone(raw: bytes) -> None:
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in raw)  # mangle_path()
    assert kernel_text.unescaped(escaped) == raw


def test_pids_and_threads_are_those_of_proc() -> None:
    found, before = kernel_text.pids(), descriptors()
    assert os.getpid() in found
    assert found == sorted(set(found))
    directory = os.open("/proc/self", os.O_PATH)
    try:
        assert os.getpid() in kernel_text.threads(directory)
    finally:
        os.close(directory)
    assert kernel_text.threads(-1) == []
    assert descriptors() == before


@pytest.mark.skipif(hardware.machine() != "x86_64", reason="needs x86_64: its flags in /proc/cpuinfo")
def test_levels_are_the_same_without_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hardware.levels()
    monkeypatch.setattr(hardware, "_cpuinfo", lambda: "")
    assert hardware.levels.__wrapped__() == expected


def called(node: ast.Call) -> str:
    """Return the name of what is called; of an open file that Python decodes, "a text file"."""
    is_method = isinstance(node.func, ast.Attribute)
    name: str = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in {"open", "fdopen"} or ast.unparse(node.func) == "os.open":
        return name if is_method else ""
    texts = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    modes = [text for text in texts if text and set(text) <= set("rwxabt+")]
    return name if modes and all("b" in mode for mode in modes) else "a text file"


def test_nothing_else_decodes_text_of_the_kernel() -> None:
    root = Path(pte_magic.__file__).parent
    found: dict[str, set[str]] = {}
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := called(node)) in DECODING:
                found.setdefault(str(path.relative_to(root)), set()).add(name)
    assert found == ELSEWHERE
