"""Cells of SystemTap in notebooks: two at once, Kernel -> Interrupt, and kernels that are killed."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import cells
import pytest
from jupyter_client.manager import KernelManager
from left_behind import modules, programs, wait_until

from pte_magic.systemtap import modules as compiled
from pte_magic.systemtap import toolchain
from pte_magic.systemtap.running import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

if toolchain.cannot_load():
    pytest.skip(f"needs a guest of the lab: {toolchain.cannot_load()}", allow_module_level=True)

SECONDS = 120.0


class Message(NamedTuple):
    moment: float
    kind: str
    content: dict[str, Any]


class Notebook:
    """A kernel of Jupyter, and its client."""

    def __init__(self) -> None:
        self.manager = KernelManager()
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()

    def wait_until_ready(self) -> None:
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
                yield Message(time.monotonic(), kind, content)

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
def notebooks() -> Iterator[list[Notebook]]:
    started = [Notebook(), Notebook()]
    try:
        for notebook in started:
            notebook.wait_until_ready()
        yield started
    finally:
        for notebook in started:
            notebook.close()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = modules()
    yield
    wait_until(lambda: modules() == before and (before or not programs()))


def test_two_run_at_once(notebooks: list[Notebook]) -> None:
    for notebook, times in zip(notebooks, (25, 20), strict=True):
        assert notebook.finish(notebook.start(f"times = {times}")) == []
    running = [notebook.start(cells.COUNT.typed()) for notebook in notebooks]
    wait_until(lambda: len(modules()) == 2)
    said = [notebook.finish(cell) for notebook, cell in zip(notebooks, running, strict=True)]
    for notebook, messages, times in zip(notebooks, said, (25, 20), strict=True):
        assert printed(messages) == counted(times, notebook.pid)
        assert {message.kind for message in messages} == {"stream"}  # and no result, which was shown already
        assert messages[-1].moment - messages[0].moment > 1  # it came while the script ran
        assert notebook.finish(notebook.start(f"assert _ == {printed(messages)!r}")) == []


def test_kernel_interrupt_ends_the_script(notebooks: list[Notebook]) -> None:
    one, _ = notebooks
    assert one.finish(one.start("times = 0")) == []
    cell = one.start(cells.COUNT.typed())
    before = one.wait_for(cell, "\n2\n")
    one.manager.interrupt_kernel()
    rest = one.finish(cell)
    assert {message.kind for message in rest} == {"stream"}  # no error
    text = before + printed(rest)
    assert printed(rest, "stderr") == ""
    assert text in {counted(last, one.pid) for last in range(2, 50)}
    assert one.finish(one.start(f"assert _ == {text!r}")) == []


def test_warnings_and_errors_are_in_their_cell(notebooks: list[Notebook]) -> None:
    _, two = notebooks
    assert two.finish(two.start("parts = 0")) == []
    messages = two.finish(two.start(cells.DIVIDE.typed()))
    assert printed(messages) == "before\n"
    errors = printed(messages, "stderr")
    assert errors.startswith("WARNING: careful\n")
    assert "UsageError: ERROR: division by 0 near operator '/' at line 3, column 14 of the cell" in errors
    assert "Traceback" not in errors


def test_a_kernel_is_killed_while_its_script_prints(notebooks: list[Notebook]) -> None:
    _, two = notebooks
    assert two.finish(two.start("times = 0")) == []
    two.wait_for(two.start(cells.COUNT.typed()), "\n2\n")
    assert len(modules()) == 1
    os.kill(two.pid, signal.SIGKILL)
    wait_until(lambda: not modules() and not programs())


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
    wait_until(lambda: not modules() and not programs())
