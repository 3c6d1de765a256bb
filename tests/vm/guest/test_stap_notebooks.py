"""Cells of SystemTap in a notebook: beside another, Kernel -> Interrupt, and a kernel that is killed."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import cells
import pytest
from jupyter_client.manager import KernelManager
from loaded import modules, programs, wait_until_nothing_is_left
from shells import Shell
from waiting import wait_until

from pte_magic.systemtap import module_cache as compiled
from pte_magic.systemtap import toolchain
from pte_magic.systemtap.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if toolchain.cannot_load():
    pytest.skip(f"needs a guest of the lab: {toolchain.cannot_load()}", allow_module_level=True)

SECONDS = 120.0


class Message(NamedTuple):
    sent: datetime
    kind: str
    content: dict[str, Any]


class Notebook:
    """A kernel of Jupyter, and its client."""

    def __init__(self, directory: Path) -> None:
        self.manager = KernelManager(transport="ipc", ip=str(directory / "kernel"))
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)
        assert self.finish(self.start("%load_ext pte_magic")) == []

    @property
    def pid(self) -> int:
        provisioner: Any = self.manager.provisioner
        return int(provisioner.pid)

    def start(self, code: str) -> str:
        """Run a cell, and do not wait for it."""
        return str(self.client.execute(code))

    def messages(self, cell: str) -> Iterator[Message]:
        """Yield what a cell has to say, as it comes, until it has ended."""
        while True:
            message = self.client.get_iopub_msg(timeout=SECONDS)
            if message["parent_header"].get("msg_id") != cell:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return
            if kind not in {"status", "execute_input"}:
                yield Message(message["header"]["date"], kind, content)

    def finish(self, cell: str) -> list[Message]:
        return list(self.messages(cell))

    def wait_for(self, cell: str, text: str) -> str:
        """Wait until a cell has printed a text; return what it has printed by then."""
        printed = ""
        for message in self.messages(cell):
            printed += message.content["text"]
            if text in printed:
                break
        return printed

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def printed(messages: list[Message], stream: str = "stdout") -> str:
    return "".join(found.content["text"] for found in messages if found.content.get("name") == stream)


def counted(last: int, target: int) -> str:
    return f"target {target}\n" + "".join(f"{number}\n" for number in range(1, last + 1)) + "the end\n"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    notebook = Notebook(tmp_path_factory.mktemp("jupyter"))
    yield notebook
    notebook.close()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = modules()
    yield
    wait_until(lambda: modules() == before and (before or not programs()))


def test_two_run_at_once(notebook: Notebook, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.ip.user_ns["times"] = 10
    assert notebook.finish(notebook.start("times = 0")) == []
    cell = notebook.start(cells.COUNT.typed())
    before = notebook.wait_for(cell, "\n2\n")
    assert shell.run(cells.COUNT.typed()).result == counted(10, os.getpid())
    assert len(modules()) == 1
    notebook.manager.interrupt_kernel()
    assert (before + printed(notebook.finish(cell))).endswith("\nthe end\n")


def test_lines_arrive_while_the_script_runs(notebook: Notebook) -> None:
    assert notebook.finish(notebook.start("times = 20")) == []
    messages = notebook.finish(notebook.start(cells.COUNT.typed()))
    assert printed(messages) == counted(20, notebook.pid)
    assert {message.kind for message in messages} == {"stream"}  # and no result, which was shown already
    assert messages[-1].sent - messages[0].sent > timedelta(seconds=1)
    assert notebook.finish(notebook.start(f"assert _ == {printed(messages)!r}")) == []


def test_kernel_interrupt_ends_the_script(notebook: Notebook) -> None:
    assert notebook.finish(notebook.start("times = 0")) == []
    cell = notebook.start(cells.COUNT.typed())
    before = notebook.wait_for(cell, "\n2\n")
    notebook.manager.interrupt_kernel()
    rest = notebook.finish(cell)
    assert {message.kind for message in rest} == {"stream"}  # no error
    assert printed(rest, "stderr") == ""
    text = before + printed(rest)
    assert text == counted(text.count("\n") - 2, notebook.pid)
    assert notebook.finish(notebook.start(f"assert _ == {text!r}")) == []


def test_warnings_and_errors_are_in_their_cell(notebook: Notebook) -> None:
    assert notebook.finish(notebook.start("parts = 0")) == []
    messages = notebook.finish(notebook.start(cells.DIVIDE.typed()))
    assert printed(messages) == "before\n"
    errors = printed(messages, "stderr")
    assert errors.startswith("WARNING: careful\n")
    assert "UsageError: ERROR: division by 0 near operator '/' at line 3, column 14 of the cell" in errors
    assert "Traceback" not in errors


def test_a_kernel_is_killed_while_its_script_prints(notebook: Notebook) -> None:
    assert notebook.finish(notebook.start("times = 0")) == []
    notebook.wait_for(notebook.start(cells.COUNT.typed()), "\n2\n")
    assert len(modules()) == 1
    os.kill(notebook.pid, signal.SIGKILL)
    wait_until_nothing_is_left()


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.5, 1.0])
def test_python_is_killed_while_a_module_is_loaded(seconds: float) -> None:
    module = compiled.kept(cells.COUNT.script())
    assert module
    pid = os.fork()
    if pid == 0:
        try:
            Run(module)
            time.sleep(SECONDS)
        finally:
            os._exit(1)
    wait_until(programs)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    time.sleep(1)
    wait_until_nothing_is_left()
