"""Engines of ipyparallel on two hosts: each is a shell of IPython, with names, walkers and failures of its own."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import ipyparallel
import network
import pandas as pd
import pytest
from handmade import PM_PFN, PM_PRESENT
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from shells import Shell
from waiting import SECONDS, wait_until

import pte_magic
from pte_magic import PteFrame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

NAMES = ("one", "two")

PREPARE = """
%load_ext pte_magic
import numpy as np, os, socket

def told():
    first = a.ctypes.data // 4096
    last = (a.ctypes.data + a.nbytes - 1) // 4096
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(first * 8)
        return first, np.frombuffer(file.read((last + 1 - first) * 8), np.uint64)
"""

LOOK = """
while True:
    first, words = told()
    df = %pte a
    if (told()[1] == words).all():  # then no page was moved to another frame meanwhile
        break
"""


class Cluster:
    """A controller, a client, and the directory of their files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._controller = ipyparallel.Cluster(
            n=0,
            controller_ip=network.ADDRESS,
            controller_location=network.ADDRESS,
            profile_dir=str(directory / "profile"),
            log_level=40,
        )
        self._controller.start_controller_sync()
        self.client = self._controller.connect_client_sync(timeout=network.START)

    @contextmanager
    def engines(self, *names: str) -> Iterator[set[int]]:
        """Have an engine on a new host of each of these names; give their numbers when all are there."""
        (file,) = (self._directory / "profile/security").glob("*-engine.json")
        command = (sys.executable, "-m", "ipyparallel.engine", f"--file={file}")
        logs = {name: self._directory / f"{name}.log" for name in names}
        before = set(self.client.ids)
        with ExitStack() as hosts:
            for name, log in logs.items():
                hosts.enter_context(network.host(name, *command, log=log))
            wait_until(
                lambda: len(self.client.ids) == len(before) + len(names),
                instead=lambda: "".join(log.read_text() for log in logs.values()),
                seconds=network.START,
            )
            yield set(self.client.ids) - before

    def close(self) -> None:
        self.client.close()
        self._controller.stop_cluster_sync()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    network.make()
    directory = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(directory / "ipython"))
        with closing(Cluster(directory)) as made, made.engines(*NAMES):
            yield made


@pytest.fixture
def view(cluster: Cluster) -> Any:
    found = cluster.client[:]
    found.execute(PREPARE, block=True)
    for at in found.targets:  # an array of the same name, but another one, on each
        found.execute(f"a = np.ones({at + 2} * 4096, np.uint8)", targets=at, block=True)
    return found


@pytest.fixture
def shell(view: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The shell of this process, with the magics that speak to all engines."""
    made = Shell(tmp_path)
    made.ip.kernel = None  # for the client, which asks whether there is one when a picture is made on an engine
    monkeypatch.setattr(InteractiveShell, "_instance", made.ip)
    view.block = True
    view.activate()
    return made


def by_host(frames: list[PteFrame]) -> dict[str, PteFrame]:
    """Put frames together, and take the rows of each host out of what that makes."""
    both = pd.concat(frames)
    assert type(both) is PteFrame
    return {str(name): PteFrame(rows) for name, rows in both.groupby("host")}


def is_what_pagemap_says(rows: PteFrame, first: int, words: NDArray[Any]) -> None:
    assert rows["vaddr"].tolist() == [(first + at) * 4096 for at in range(len(words))]
    assert rows["pfn"].tolist() == [int(word) & PM_PFN for word in words]
    assert all(int(word) & PM_PRESENT for word in words)


def test_names_are_those_of_each_engine_and_so_are_the_entries(shell: Shell, view: Any) -> None:
    assert not shell.run(f"%%px\n{LOOK}").err
    found = by_host(view["df"])
    expected = dict(zip(view["socket.gethostname()"], zip(view["first"], view["words"], strict=True), strict=True))
    assert set(found) == set(expected) == set(NAMES)
    for name, (first, words) in expected.items():
        is_what_pagemap_says(found[name], first, words)
    assert len({len(rows) for rows in found.values()}) == len(NAMES)


@pytest.mark.parametrize("option", ["", "--map"])
def test_what_each_engine_shows_is_shown_here(shell: Shell, view: Any, option: str) -> None:
    with capture_output() as captured:
        assert shell.ip.run_cell(f"%px %pte {option} a").success
    bundles = [output.data for output in captured.outputs if "text/html" in output.data]
    assert len(bundles) == len(NAMES)
    told = dict(zip(view.targets, view["told()"], strict=True))
    for bundle in bundles:  # in the order in which they came
        (at,) = [at for at in told if bundle["text/plain"].startswith(f"Out[{at}:")]
        first, words = told.pop(at)
        for text in (bundle["text/plain"], bundle["text/html"]):
            assert f"{len(words)} entries" in text
            assert f"{first * 4096:#014x}" in text


def test_a_name_that_one_host_lacks_takes_nothing_from_the_others(shell: Shell, view: Any) -> None:
    view.execute("df = None", block=True)
    view.execute("b = a", targets=0, block=True)
    cell = shell.run("%px df = %pte b")
    assert "UsageError" in cell.err + cell.out
    assert "'b'" in cell.err + cell.out
    first, second = view["df"]
    assert len(first) >= 2
    assert second is None


def test_a_process_that_one_host_lacks_is_that_host_s_error(view: Any) -> None:
    view.execute("import subprocess\nchild = subprocess.Popen(['sleep', 'infinity'])", targets=0, block=True)
    pid = view.client[0]["child.pid"]
    found = view.apply(pte_magic.walk, "[stack]", pid=pid).get(return_exceptions=True)
    assert type(found[0]) is PteFrame
    assert set(found[0]["pid"]) == {pid}
    assert found[1].ename == "NoSuchProcessError"
    assert str(pid) in found[1].evalue


def test_an_engine_that_is_killed_takes_nothing_from_the_others(cluster: Cluster) -> None:
    before = set(cluster.client.ids)
    with cluster.engines("three") as (killed,):
        view = cluster.client[:]
        view.execute(PREPARE + "a = np.ones(99)", block=True)
        view.execute("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", targets=killed)
        found = view.apply(pte_magic.walk, "[stack]").get(timeout=SECONDS, return_exceptions=True)
        rows = [table for table in found if isinstance(table, PteFrame)]
        assert set(by_host(rows)) == set(NAMES)
        assert [error.ename for error in found if not isinstance(error, PteFrame)] == ["EngineError"]
        wait_until(lambda: set(cluster.client.ids) == before)
    assert set(by_host(cluster.client[:].apply_sync(pte_magic.walk, "[stack]"))) == set(NAMES)
