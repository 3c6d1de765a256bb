"""Benchmark of many hosts: 1 M rows from eight engines of ipyparallel on this machine, against one. ``make bench``."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import ipyparallel
import pandas as pd
from bench import GIB, fastest, report, resident

import pte_magic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic import PteFrame

ENGINES = 8
ROWS = 1 << 20

# Pages that are only read all have the zero page's frame: a million entries, and no memory.
PREPARE = """
import mmap
import numpy as np
import pte_magic

memory = mmap.mmap(-1, {rows} * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
array = np.frombuffer(memory, np.uint8)
array[::4096].sum()
"""


@contextmanager
def engines() -> Iterator[Any]:
    """Start the engines; give the client. Their files are in a directory that is gone when the block ends."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["IPYTHONDIR"] = home
        cluster = ipyparallel.Cluster(n=ENGINES, log_level=40)
        cluster.start_cluster_sync()
        try:
            client = cluster.connect_client_sync(timeout=60)
            client.wait_for_engines(ENGINES, interactive=False, timeout=300)
            yield client
            client.close()
        finally:
            cluster.stop_cluster_sync()


def gathered(view: Any) -> PteFrame:
    """Walk on each engine, and fetch and join what they found."""
    view.execute("table = pte_magic.walk(array)", block=True)
    tables: list[PteFrame] = view["table"]
    return pd.concat(tables, ignore_index=True)


def against_one(client: Any) -> None:
    """Measure a million rows from all engines, and from one."""
    seconds = []
    for numbers in ([0], client.ids):
        view = client[numbers]
        view.execute(PREPARE.format(rows=ROWS // len(numbers)), block=True)
        assert len(gathered(view)) == ROWS
        seconds.append(fastest(partial(gathered, view), repeat=5))
    one, all_of_them = seconds
    report(
        f"1 M rows gathered from {ENGINES} engines: time over the same from one", all_of_them / one, "none",
        reached=True, measured=f"{all_of_them:.2f} s, {one:.2f} s",
    )  # fmt: skip


def on_the_wire() -> None:
    """Measure how many bytes a row takes: pickled as a frame, as entries, and as Parquet. Frames differ, as they do."""
    with resident(GIB) as start:
        table, found = pte_magic.walk(start, start + GIB), pte_magic.entries(start, start + GIB)
    rows, file = len(table), io.BytesIO()
    table.to_parquet(file)
    frame = len(pickle.dumps(table))
    for name, size in {"entries": len(pickle.dumps(found)), "Parquet": file.tell()}.items():
        report(
            f"bytes of a pickled frame: over those of {name}", frame / size, "none",
            reached=True, measured=f"{frame / rows:.1f}, {size / rows:.1f} a row",
        )  # fmt: skip


def main() -> None:
    """Print the table."""
    print("| what | ratio | goal | reached | measured |\n|---|---|---|---|---|")
    with engines() as client:
        against_one(client)
    on_the_wire()


if __name__ == "__main__":
    main()
