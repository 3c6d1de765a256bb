"""Files that are damaged, or somebody else's: the entries that were written, or one clear line; never others."""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import shutil
import stat
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import python
from peaks import waiting

import pte_magic
from pte_magic.api.snapshots import checks, parquet_rows
from pte_magic.api.snapshots.origin_of_entries import KEY
from pte_magic.errors import TargetError
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD = Path(__file__).with_name("data") / "version-2.parquet"
"""Of a process, written before there were checksums."""
FLIPS = 400


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of a small process."""
    path = tmp_path_factory.mktemp("snapshot") / "whole"
    with waiting("sh", "-c", "echo up; read answer") as pid:
        pte_magic.snapshot(path, pid)
    return path


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def only_file(path: Path) -> Path:
    (file,) = path.glob("host=*/pid=*/*.parquet")
    return file


def file_for(path: Path, pid: int) -> Path:
    place = path / "host=laptop" / f"pid={pid}"
    place.mkdir(parents=True)
    return place / "part-0.parquet"


def facts_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pq.read_metadata(file).metadata[KEY])
    return found


def loaded(path: Path) -> pd.DataFrame | str:
    """Return the entries of a snapshot, or why it is refused."""
    try:
        return pte_magic.load(path).frame()
    except TargetError as error:
        return str(error)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Have this process get no more than so many bytes of addresses more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (now + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_no_flipped_bit_gives_other_entries(written: Path, copy: Path) -> None:
    right = pte_magic.load(written).frame()
    file = only_file(copy)
    good = file.read_bytes()
    chosen = random.Random(1)  # noqa: S311  (the same bits each time)
    footer = int.from_bytes(good[-8:-4], "little")
    # Half of them where the file is described, which is a small part of it.
    places = [chosen.randrange(len(good)) for _ in range(FLIPS // 2)]
    places += [len(good) - 8 - footer + chosen.randrange(footer + 8) for _ in range(FLIPS // 2)]
    refused = 0
    for at in places:
        bad = bytearray(good)
        bad[at] ^= 1 << chosen.randrange(8)
        file.write_bytes(bad)
        found = loaded(copy)
        if isinstance(found, str):
            refused += 1
            assert "\n" not in found
            assert len(found) < 400
        else:
            pd.testing.assert_frame_equal(found, right)
    assert refused > FLIPS // 3  # most bits say something


FLIPPED = """
import random, sys
from pathlib import Path
import pte_magic
from pte_magic.errors import TargetError

path = Path({path!r})
(file,) = path.glob("host=*/pid=*/*.parquet")
right = pte_magic.load(path).frame()
good = file.read_bytes()
chosen = random.Random(1)
refused = 0
for at in range(len(good) - 8 - int.from_bytes(good[-8:-4], "little"), len(good)):
    # The first of these had the length of a list be another one, on which pyarrow ends the process if it is asked.
    for bit in {{6, chosen.randrange(8)}}:
        print(at, bit, file=sys.stderr, flush=True)
        bad = bytearray(good)
        bad[at] ^= 1 << bit
        file.write_bytes(bad)
        try:
            found = pte_magic.load(path).frame()
        except TargetError as error:
            assert len(str(error).splitlines()) == 1
            refused += 1
        else:
            assert not {checked} or found.equals(right)
print(refused / len(good))
"""


@pytest.mark.parametrize("checked", [True, False], ids=["version-3", "version-2"])
def test_no_flipped_bit_of_the_footer_ends_the_process(checked: bool, copy: Path, tmp_path: Path) -> None:
    path = copy
    if not checked:
        path = tmp_path / "old"
        shutil.copy(OLD, file_for(path, facts_of(OLD)["pid"]))
    assert float(python(FLIPPED.format(path=str(path), checked=checked))) > 0


@pytest.mark.parametrize("version", [2, 3])
def test_what_ends_pyarrow_is_refused_also_if_the_checksum_is_right(version: int, copy: Path) -> None:
    """One flipped bit, and a column tells four times how often a level occurs, of which there is one."""
    file = only_file(copy)
    rewrite(file, pq.read_table(file, partitioning=None).to_pydict(), facts_of(file) | {"version": version})
    good = file.read_bytes()
    begin = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    said = set()
    for at in range(begin, len(good) - 8):
        if good[at] == 0x06:  # in Thrift's compact protocol: the list of one i64 that follows, 0x16, gets four
            bad = bytearray(good)
            bad[at] ^= 0x40
            if version > 2:
                bad[8:12] = zlib.crc32(bad[begin:]).to_bytes(4, "little")
            file.write_bytes(bad)
            found = loaded(copy)
            assert "damaged" in found if isinstance(found, str) else True
            said.add(str(found)[-80:])
    assert any("histogram size mismatch" in words for words in said)


def test_other_readers_of_parquet_read_it(written: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    file = only_file(written)
    assert file.read_bytes()[4:8] == b"PTEc"
    told = pq.read_table(file, partitioning=None).drop_columns("level").to_pandas()
    pd.testing.assert_frame_equal(pd.read_parquet(file, partitioning=None).drop(columns="level"), told)
    query = f"select vaddr, size, count, entry, protnone from read_parquet('{file}')"  # noqa: S608  (the test's own)
    theirs = duckdb.sql(query).fetchnumpy()
    for name in ("vaddr", "size", "count", "entry"):
        assert np.array_equal(theirs[name], told[name].to_numpy()), name


@pytest.mark.parametrize("left", [0, 4, 11, 100, -1, -5, -1000])
def test_a_file_that_was_cut_is_refused(left: int, copy: Path) -> None:
    file = only_file(copy)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(TargetError, match="is damaged: "):
        pte_magic.load(copy).frame()


@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        lambda file: file.symlink_to("/dev/zero"),
        lambda file: file.mkdir(),
        lambda file: file.symlink_to(file),
    ],
    ids=["pipe", "device", "directory", "loop"],
)
def test_what_is_not_a_regular_file_is_refused_at_once(put: Callable[[Path], object], copy: Path) -> None:
    file = only_file(copy)
    file.unlink()
    put(file)
    with pytest.raises(TargetError, match=r"is not a regular file|Too many levels"):
        pte_magic.load(copy).frame()


def test_what_was_written_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    shutil.copy(OLD, file_for(tmp_path, facts_of(OLD)["pid"]))
    found = pte_magic.load(tmp_path).frame()
    # Expanded by hand: a run of page frames goes on by a page.
    told = pq.read_table(OLD, partitioning=None).to_pandas()
    entry, vaddr = [], []
    for row in told.itertuples():
        each = row.size // row.count
        step = each if row.entry & 0x000F_FFFF_FFFF_F000 else 0
        entry += [row.entry + k * step for k in range(row.count)]
        vaddr += [row.vaddr + k * each for k in range(row.count)]
    assert found["entry"].tolist() == entry
    assert found["vaddr"].tolist() == vaddr
    assert set(found["host"]) == {"laptop"}


_LARGEST = (1 << 32) - 1  # of a count
FORGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "rows overlap": lambda row: row | {"vaddr": [row["vaddr"][1], *row["vaddr"][1:]]},
    "rows descend": lambda row: {name: values[::-1] for name, values in row.items()},
    "no entry": lambda row: row | {"count": [0, *row["count"][1:]]},
    "many entries": lambda row: (
        row | {"count": [_LARGEST] * len(row["count"]), "size": [_LARGEST << 12] * len(row["size"])}
    ),
    "half a page": lambda row: row | {"size": [2048, *row["size"][1:]]},
    "no size": lambda row: row | {"size": [0, *row["size"][1:]]},
    "beyond all": lambda row: row | {"vaddr": [*row["vaddr"][:-1], (1 << 64) - 4096]},
    "no such level": lambda row: row | {"level": ["pet", *row["level"][1:]]},
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("version", [2, 3])
def test_what_no_walk_finds_is_refused_in_bounded_memory(
    forge: Callable[[dict[str, Any]], dict[str, Any]], version: int, copy: Path
) -> None:
    """Also if the checksums are right: who forges a file can compute them."""
    file = only_file(copy)
    told = facts_of(file) | {"version": version}
    rewrite(file, forge(pq.read_table(file, partitioning=None).to_pydict()), told)
    with limited(2 << 30), pytest.raises(TargetError, match="is damaged: "):
        pte_magic.load(copy).frame()


def rewrite(file: Path, columns: dict[str, Any], told: dict[str, Any], levels: tuple[str, ...] = ()) -> None:
    """Write a file of one row group as `snapshot` does, with other rows and facts; levels in any order."""
    names = levels or tuple(dict.fromkeys([*LEVELS, *filter(None, columns["level"])]))
    level = pa.DictionaryArray.from_arrays(
        pa.array([None if name is None else names.index(name) for name in columns["level"]], pa.int8()), pa.array(names)
    )
    arrays = [
        level if field.name == "level" else pa.array(columns[field.name], field.type) for field in parquet_rows.SCHEMA
    ]
    facts = json.dumps(told).encode()
    table = pa.Table.from_arrays(arrays, schema=parquet_rows.SCHEMA.with_metadata({KEY: facts}))
    with pq.ParquetWriter(file, table.schema, **parquet_rows.OPTIONS) as writer:
        writer.write_table(table)
        crc = 0
        for name, dtype in (("vaddr", "<u8"), ("size", "<u8"), ("count", "<u4")):
            crc = zlib.crc32(np.array(columns[name], dtype).tobytes(), crc)
        known = [LEVELS.index(name) if name in LEVELS else -1 for name in columns["level"]]
        crc = zlib.crc32(np.array(known, np.int8).tobytes(), crc)
        crc = zlib.crc32(np.array(columns["entry"], "<u8").tobytes(), crc)
        if told["version"] > 2:
            group = checks.Group(0, 1 << 57, len(columns["vaddr"]), crc)
            writer.add_key_value_metadata(checks.packed([group]))
    if told["version"] > 2:
        seal(file)


def seal(file: Path) -> None:
    """Put the checksum of the footer where `snapshot` does; all pages of the only row group move."""
    table, facts = pq.read_table(file, partitioning=None), pq.read_metadata(file).metadata
    with file.open("w+b") as opened:
        sink = pa.PythonFile(opened, "w")
        schema = table.schema.with_metadata({KEY: facts[KEY]})
        with pq.ParquetWriter(sink, schema, **parquet_rows.OPTIONS) as writer:
            sink.write(b"PTEc1234")
            writer.write_table(table.cast(schema))
            writer.add_key_value_metadata({checks.KEY: facts[checks.KEY]})
        opened.seek(0)
        whole = opened.read()
        size = int.from_bytes(whole[-8:-4], "little")
        opened.seek(8)
        opened.write(zlib.crc32(whole[-8 - size :]).to_bytes(4, "little"))


def test_levels_are_known_by_their_names_in_whatever_order(written: Path, copy: Path) -> None:
    file = only_file(copy)
    columns = pq.read_table(file, partitioning=None).to_pydict()
    rewrite(file, columns, facts_of(file), tuple(reversed(LEVELS)))
    pd.testing.assert_frame_equal(pte_magic.load(copy).frame(), pte_magic.load(written).frame())


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": 77}, {"levels": "4"}, {"format": "mips"}, {"encoding": "arm64_4k"}, {"walker": "nobody"},
        {"pid": -1}, {"pid": True}, {"time": "yesterday"}, {"features": "soft_dirty"}, {"features": [1]},
        {"features": ["x y"]}, {"features": ["migration?"]}, {"levels": 1},
        {"encryption_mask": -1}, {"encryption_mask": 1 << 70}, {"encryption_mask": 1}, {"encryption_mask": 3 << 12},
        {"version": 0}, {"version": "3"}, {"frames_hidden": 1},
        {"more": 1}, {"host": None},
    ],
    ids=str,
)  # fmt: skip
def test_facts_of_another_kind_are_refused(changes: dict[str, Any], copy: Path) -> None:
    file = only_file(copy)
    told = facts_of(file) | {"version": 2}  # without a checksum, which would be missing
    rewrite(file, pq.read_table(file, partitioning=None).to_pydict(), told)
    assert len(pte_magic.load(copy).frame())
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(told | changes)}), file)
    with pytest.raises(TargetError, match="is damaged: "):
        pte_magic.load(copy).processes()
    with pytest.raises(TargetError, match="is damaged: "):
        pte_magic.load(copy).frame()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1}'])
def test_facts_that_are_none_are_refused(text: bytes, copy: Path) -> None:
    file = only_file(copy)
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.replace_schema_metadata({KEY: text}), file)
    with pytest.raises(TargetError, match="is damaged: "):
        pte_magic.load(copy).frame()


@pytest.mark.parametrize(("private", "modes"), [(True, (0o700, 0o700, 0o600)), (False, (0o755, 0o755, 0o644))])
def test_who_else_may_read_it(private: bool, modes: tuple[int, int, int], tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        pte_magic.snapshot(tmp_path / "new", private=private)
    finally:
        os.umask(before)
    file = only_file(tmp_path / "new")
    assert tuple(stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new", file.parents[1], file)) == modes
