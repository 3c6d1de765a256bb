"""Workers of Dask on two hosts: functions and frames are sent by pickle, and so are errors."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import dask
import dask.dataframe
import duckdb
import network
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from distributed.comm.core import CommClosedError
from handmade import PM_PFN, PM_PRESENT
from waiting import wait_until

import pte_magic
from pte_magic import PteFrame
from pte_magic.errors import NoSuchProcessError, TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NAMES = ("red", "blue")

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no such module


class Cluster:
    """A scheduler, a client, and a directory for files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._scheduler = LocalCluster(n_workers=0, host=network.ADDRESS, dashboard_address=None)
        self.client = Client(self._scheduler)

    @contextmanager
    def workers(self, *names: str) -> Iterator[list[str]]:
        """Have a worker on a new host of each of these names; give their addresses when all are there."""
        command = (sys.executable, "-m", "distributed.cli.dask_worker", "--no-dashboard", "--no-nanny", "--nthreads=1")
        logs = {name: self._directory / f"{name}.log" for name in names}
        before = self.addresses()
        with ExitStack() as hosts:
            for name, log in logs.items():
                place = f"--local-directory={self._directory / name}"
                address = self._scheduler.scheduler_address
                hosts.enter_context(network.host(name, *command, f"--name={name}", place, address, log=log))
            wait_until(
                lambda: len(self.addresses()) == len(before) + len(names),
                instead=lambda: "".join(log.read_text() for log in logs.values()),
                seconds=network.START,
            )
            yield sorted(self.addresses() - before)

    def addresses(self) -> set[str]:
        return set(self.client.scheduler_info(n_workers=-1)["workers"])

    def names(self) -> dict[str, str]:
        """Return the name of each worker, by its address."""
        return {at: worker["name"] for at, worker in self.client.scheduler_info(n_workers=-1)["workers"].items()}

    def close(self) -> None:
        self.client.close()
        self._scheduler.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    network.make()
    directory = tmp_path_factory.mktemp("cluster")
    with (
        dask.config.set({"temporary-directory": str(directory)}),
        closing(Cluster(directory)) as made,
        made.workers(*NAMES),
    ):
        yield made


def looked() -> tuple[PteFrame, int, NDArray[np.uint64]]:
    """Return the entries of an array, the number of its first page, and what pagemap says of each."""
    memory = np.ones(16 * 4096, np.uint8)
    first, last = memory.ctypes.data // 4096, (memory.ctypes.data + memory.nbytes - 1) // 4096

    def told() -> NDArray[np.uint64]:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:  # noqa: PTH123  (no module of ours is there)
            file.seek(first * 8)
            return np.frombuffer(file.read((last + 1 - first) * 8), np.uint64)

    while True:
        words = told()
        table = pte_magic.walk(memory)
        if (told() == words).all():  # then no page was moved to another frame meanwhile
            return table, first, words


def test_every_worker_walks_its_own_memory_on_its_own_host(cluster: Cluster) -> None:
    found = cluster.client.run(looked)
    assert {at: set(table["host"]) for at, (table, _, _) in found.items()} == {
        at: {name} for at, name in cluster.names().items()
    }
    both = pd.concat([table for table, _, _ in found.values()])
    assert type(both) is PteFrame
    for at, (_, first, words) in found.items():
        rows = both[both["host"] == cluster.names()[at]]
        assert rows["vaddr"].tolist() == [(first + page) * 4096 for page in range(len(words))]
        assert rows["pfn"].tolist() == [int(word) & PM_PFN for word in words]
        assert all(int(word) & PM_PRESENT for word in words)


def test_walk_itself_is_what_is_sent(cluster: Cluster) -> None:
    found = cluster.client.run(pte_magic.walk, "[stack]")
    assert {name for table in found.values() for name in table["host"]} == set(NAMES)
    for reports in (cluster.client.run(pte_magic.doctor), cluster.client.run(pte_magic.entries, "[stack]")):
        assert len(reports) == len(NAMES)


def sleeper() -> int:
    return subprocess.Popen(["sleep", "infinity"]).pid


def test_a_process_that_one_host_lacks_is_that_host_s_error(cluster: Cluster) -> None:
    (has, lacks) = sorted(cluster.addresses())
    pid = cluster.client.run(sleeper, workers=[has])[has]
    found = cluster.client.run(pte_magic.walk, "[stack]", pid=pid, on_error="return")
    assert set(found[has]["pid"]) == {pid}
    assert type(found[lacks]) is NoSuchProcessError
    assert found[lacks].pid == pid
    assert str(found[lacks]) == str(NoSuchProcessError(pid))


def test_an_error_of_a_task_is_raised_here_as_what_it_was(cluster: Cluster) -> None:
    task = cluster.client.submit(pte_magic.walk, "[no such region]", pure=False)
    with pytest.raises(TargetError, match=r"\[no such region\]"):
        task.result()


def resident(pid: int) -> int:
    """Return the bytes of a process that pagemap calls present."""
    count = 0
    with Path(f"/proc/{pid}/maps").open(encoding="utf-8") as maps, Path(f"/proc/{pid}/pagemap").open("rb", 0) as file:
        for line in maps:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if end < 1 << 63:  # else the page of vsyscalls, which is everybody's
                file.seek(start // 4096 * 8)
                count += int((np.frombuffer(file.read((end - start) // 4096 * 8), np.uint64) >> np.uint64(63)).sum())
    return count * 4096


def saved(directory: str) -> tuple[str, int, int]:
    """Write a snapshot of a process that stands still; return its host, its pid, and how much is resident."""
    host, pid = os.uname().nodename, sleeper()
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    while True:
        before = resident(pid)
        pte_magic.snapshot(directory, [pid], walker="bpf")
        if resident(pid) == before:  # then no page was taken away meanwhile
            return host, pid, before
        shutil.rmtree(Path(directory, f"host={host}"))


def test_a_snapshot_of_all_hosts_is_asked_by_duckdb_and_by_dask(cluster: Cluster, tmp_path: Path) -> None:
    data = tmp_path / "data"
    told = sorted(cluster.client.run(saved, str(data)).values())
    assert [host for host, _, _ in told] == sorted(NAMES)
    question = """
        SELECT host, pid, sum(size)::BIGINT FROM read_parquet(?, hive_partitioning = true)
        WHERE entry & 1 = 1 GROUP BY ALL ORDER BY ALL
    """
    answer: Any = duckdb.sql(question, params=[f"{data}/**/*.parquet"])
    assert answer.fetchall() == told
    rows = dask.dataframe.read_parquet(data, columns=["entry", "size", "host", "pid"])
    sums = rows[rows["entry"] % 2 == 1].groupby(["host", "pid"], observed=True)["size"].sum().compute()
    assert sorted((str(host), int(pid), int(total)) for (host, pid), total in sums.items()) == told
    table = pte_magic.load(data).frame()
    again = table[table["state"] == "present"].groupby(["host", "pid"], observed=True)["size"].sum().reset_index()
    assert [*again.itertuples(index=False, name=None)] == told


def processes() -> set[int]:
    return {int(path.name) for path in Path("/proc").glob("[0-9]*")}


def test_the_processes_of_each_host_are_one_table(cluster: Cluster) -> None:
    cluster.client.run(sleeper)
    found = cluster.client.run(pte_magic.machine)
    assert {at: set(table["pid"]) for at, table in found.items()} == cluster.client.run(processes)
    both = pd.concat(found.values())
    assert {type(both)} == {type(table) for table in found.values()} != {pd.DataFrame}
    sums = both.groupby("host")["resident"].sum()
    names = cluster.names()
    assert sums.to_dict() == {names[at]: table["resident"].sum() for at, table in found.items()}
    assert (sums > 1 << 20).all()


def end() -> None:
    os._exit(1)


def test_a_worker_that_ends_takes_nothing_from_the_others(cluster: Cluster) -> None:
    before = cluster.addresses()
    with cluster.workers("green") as (lost,):
        found: dict[str, Any] = cluster.client.run(
            lambda: end() if os.uname().nodename == "green" else looked(), on_error="return"
        )
        assert isinstance(found.pop(lost), (CommClosedError, OSError))
        assert {str(name) for table, _, _ in found.values() for name in table["host"]} == set(NAMES)
        wait_until(lambda: cluster.addresses() == before)
    assert len(cluster.client.run(pte_magic.walk, "[stack]")) == len(NAMES)
