"""The memory of objects of real libraries: of which variable it is, and how much of it is there, by their own pointers.

Each library is asked for its own address of the same data (``data_ptr``, a view as an array of numpy without a copy,
buffers), and /proc/self/pagemap for the pages there.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import struct
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import python
from handmade import PAGE, PM_PRESENT, words

import pte_magic
from pte_magic.errors import TargetError
from pte_magic.targets import owners
from pte_magic.targets.objects import find

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 1 << 18
MIB = 1 << 20


def library(name: str, extra: str = "libraries") -> Any:
    return pytest.importorskip(name, reason=f"needs {name}: type pip install 'pte-magic[{extra}]'")


def there(start: int, size: int) -> int:
    """Return the bytes of a range that page tables have, page by page."""
    first, end = start // PAGE * PAGE, start + size
    present = words(first, -(-(end - first) // PAGE) * PAGE) & np.uint64(PM_PRESENT) > 0
    edges = np.clip(np.arange(len(present) + 1) * PAGE + first, start, end)
    return int(np.diff(edges)[present].sum())


def of_numpy(array: Any) -> tuple[int, int]:
    return array.ctypes.data, array.nbytes


def row(namespace: dict[str, Any], name: str) -> dict[str, Any]:
    found = pte_magic.variables(namespace)
    rows = found[found["name"] == name]
    assert len(rows) == 1, found.to_string()
    one = rows.iloc[0]
    return {str(key): int(value) if isinstance(value, np.integer) else value for key, value in one.items()}


def check(namespace: dict[str, Any], name: str, *ranges: tuple[int, int], more: int = 4 * PAGE) -> Any:
    """Assert that ranges, each an address and bytes, and little else belong to a name, and are as resident as pages."""
    found = owners.owners(namespace)
    for start, size in ranges:
        inside = np.arange(start, start + size, 16, dtype=np.uint64)
        assert set(found.of(inside).tolist()) == {found.names.index(name)}, name
    one = row(namespace, name)
    total, pages = sum(size for _, size in ranges), sum(there(*one) for one in ranges)
    assert 0 <= int(one["bytes"]) - total <= more, one
    assert 0 <= int(one["resident"]) - pages <= more, one
    return one


def test_a_tensor_its_views_and_its_gradient() -> None:
    torch = library("torch", "torch")
    x = torch.ones(ROWS, requires_grad=True)
    (x * 2).sum().backward()
    namespace = {"x": x, "view": x.detach()[:10], "rows": x[5:50]}
    one = check(namespace, "x", (x.data_ptr(), 4 * ROWS), (x.grad.data_ptr(), 4 * ROWS))
    assert one["says"] == f"float32 [{ROWS}]"
    assert row(namespace, "rows")["says"] == "float32 [45], a view of x"
    assert row(namespace, "view")["bytes"] < PAGE
    half = torch.ones(ROWS)[: ROWS // 2]
    check({"half": half}, "half", (half.data_ptr(), 4 * ROWS))  # the view keeps all of it
    parameter = torch.nn.Parameter(torch.ones(ROWS))
    assert check({"p": parameter}, "p", (parameter.data_ptr(), 4 * ROWS))["says"] == f"float32 [{ROWS}]"
    sparse = torch.eye(1 << 13).to_sparse()
    parts = sparse._indices(), sparse._values()
    check({"s": sparse}, "s", *((part.data_ptr(), part.nbytes) for part in parts))


def test_a_tensor_that_shares_an_array_or_is_nowhere() -> None:
    torch = library("torch", "torch")
    array = np.ones(ROWS)
    namespace = {"array": array, "t": torch.from_numpy(array)}
    assert row(namespace, "array")["also"] >= array.nbytes
    assert row(namespace, "t")["bytes"] < PAGE
    meta = row({"meta": torch.empty(ROWS, device="meta")}, "meta")
    assert meta["bytes"] < PAGE
    assert "on the device meta" in meta["remark"]


def test_the_layers_of_a_network_and_what_an_optimizer_keeps() -> None:
    torch = library("torch", "torch")
    layer = torch.nn.Linear(512, 512, bias=False)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 512)).sum().backward()
    optimizer.step()
    kept = list(optimizer.state[layer.weight].values())
    tensors = [one for one in (layer.weight, layer.weight.grad, *kept) if one.numel() > 1]
    assert len(tensors) == 4
    found = pte_magic.variables({"layer": layer, "optimizer": optimizer})
    assert 0 <= int(found.loc[found["name"] != "", "bytes"].sum()) - 4 * layer.weight.nbytes <= 32 * PAGE


def test_a_frame_of_polars_its_columns_and_slices() -> None:
    pl = library("polars")
    frame = pl.DataFrame({"n": np.arange(ROWS), "f": np.arange(ROWS) * 0.5})
    ranges = [of_numpy(frame[name].to_numpy(allow_copy=False)) for name in ("n", "f")]
    namespace = {"frame": frame, "column": frame["n"], "part": frame[10:20]}
    one = check(namespace, "frame", *ranges)
    assert one["says"] == f"{ROWS:,} rows x 2 columns"
    assert one["also"] >= ROWS * 8
    assert row(namespace, "column")["says"] == f"Int64 [{ROWS}]"
    assert row(namespace, "column")["bytes"] < PAGE
    assert row(namespace, "part")["bytes"] < PAGE


def test_pieces_of_a_frame_of_polars_stay_where_they_are() -> None:
    pl = library("polars")
    n = pl.Series("n", np.arange(ROWS))
    frame = pl.DataFrame({"a": pl.concat([n, n], rechunk=False), "b": pl.concat([n[:9], n, n[9:]], rechunk=False)})
    before = [of_numpy(piece.to_numpy(allow_copy=False)) for name in "ab" for piece in frame[name].get_chunks()]
    assert len(before) == 5
    one = row({"frame": frame}, "frame")
    find(frame)
    after = [of_numpy(piece.to_numpy(allow_copy=False)) for name in "ab" for piece in frame[name].get_chunks()]
    assert after == before  # an export of the frame itself would make new ones
    assert 0 <= one["bytes"] - 8 * ROWS <= 4 * PAGE  # all pieces are of the same series


@pytest.mark.parametrize("kind", ["Boolean", "Date", "Datetime", "Duration", "Decimal", "String", "List", "Struct"])
def test_columns_of_polars_of_each_type(kind: str) -> None:
    pl = library("polars")
    n = pl.Series("n", np.arange(ROWS))
    made: Any = {
        "Boolean": lambda: n > 5,
        "String": lambda: pl.Series([f"a text that is longer than a view, {at}" for at in range(ROWS)]),
        "List": lambda: n.reshape((ROWS // 8, 8)).cast(pl.List(pl.Int64)),
        "Struct": lambda: pl.DataFrame({"x": n, "y": n * 0.5}).to_struct("s"),
        "Decimal": lambda: n.cast(pl.Decimal(20, 2)),
    }
    column = made[kind]() if kind in made else n.cast(getattr(pl, kind))
    size = column.estimated_size()  # of texts it does not count all of their views
    one = row({"column": column}, "column")
    assert 0 <= one["bytes"] - size <= size + 4 * PAGE if kind == "String" else 0 <= one["bytes"] - size <= 4 * PAGE
    assert "polars" not in one["remark"]


def test_columns_of_which_polars_does_not_tell() -> None:
    pl = library("polars")
    names = pl.Series("names", [f"a category {at % 1000}" for at in range(ROWS)])
    categories = row({"c": names.cast(pl.Categorical)}, "c")
    assert 0 <= categories["bytes"] - 4 * ROWS <= PAGE
    assert categories["remark"].startswith("the texts of its categories are where polars does not tell")
    things = pl.Series("things", [object()] * ROWS, dtype=pl.Object)
    frame = pl.DataFrame(
        [
            pl.Series("n", np.arange(ROWS)),
            things,
            pl.Series("big", [1] * 99, dtype=pl.Int128).extend(pl.Series("big", [1] * (ROWS - 99), dtype=pl.Int128)),
        ]
    )
    one = row({"frame": frame}, "frame")
    assert 0 <= one["bytes"] - 8 * ROWS <= PAGE
    for told in ("its column things of type Object is where polars", "its column big of type Int128 is where polars"):
        assert told in one["remark"]
    with pytest.raises(TargetError, match=r"^the Series: its data of type Object is where polars does not tell$"):
        find(things)
    lazy = row({"lazy": frame.lazy()}, "lazy")
    assert lazy["bytes"] < PAGE


def test_arrow_s_tables_in_pieces_and_slices() -> None:
    pa = library("pyarrow")
    pieces = [pa.array(np.arange(ROWS) + at) for at in range(2)]
    table = pa.table({"n": pa.chunked_array(pieces)})
    ranges = [(piece.buffers()[1].address, 8 * ROWS) for piece in pieces]
    del pieces
    namespace = {"table": table, "part": table.slice(5, 10), "column": table["n"]}
    one = check(namespace, "table", *ranges)
    assert one["says"] == f"{2 * ROWS:,} rows x 1 column"
    assert row(namespace, "column")["says"] == f"int64 [{2 * ROWS}]"
    assert row(namespace, "part")["bytes"] < PAGE
    check({"part": namespace["part"]}, "part", ranges[0])  # alone, it keeps the whole first piece


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_matrices_of_scipy(kind: str) -> None:
    library("scipy")
    sparse: Any = importlib.import_module("scipy.sparse")
    where = np.arange(0, 3000, dtype=np.int32)
    across = where if kind == "dia" else where[::-1].copy()
    matrix = sparse.coo_array((np.ones(3000), (where, across)), shape=(3000, 3000)).asformat(kind)
    names = {"coo": ("data",), "dia": ("data", "offsets")}.get(kind, ("data", "indices", "indptr"))
    parts = [getattr(matrix, name) for name in names] + [*(matrix.coords if kind == "coo" else ())]
    one = check({"matrix": matrix}, "matrix", *map(of_numpy, parts))
    assert one["says"] == "float64 [3000, 3000]"


def test_matrices_of_scipy_that_are_objects() -> None:
    library("scipy")
    sparse = importlib.import_module("scipy.sparse")
    for made in (sparse.lil_array((2000, 2000)), sparse.dok_array((2000, 2000))):
        for at in range(2000):
            made[at, at] = 1
        one = row({"made": made}, "made")
        assert one["bytes"] > 2000 * 32
        assert one["says"] == "float64 [2000, 2000]"


def test_data_sets_of_xarray_and_their_views() -> None:
    xr = library("xarray")
    values = np.ones((512, 512))
    data = xr.Dataset({"t": (("a", "b"), values)}, coords={"a": np.arange(512.0)})
    namespace = {"data": data, "part": data["t"][:3]}
    start = data["t"].values.ctypes.data
    del values
    one = check({"data": data}, "data", (start, 512 * 512 * 8), more=8 * PAGE)
    assert one["says"] == "2 variables"
    assert row(namespace, "part")["says"] == "float64 [3, 512]"
    assert row({"t": data["t"]}, "t")["says"] == "float64 [512, 512]"


@pytest.mark.parametrize(("mode", "width"), [("L", 1), ("RGB", 4), ("RGBA", 4), ("F", 4)])
def test_an_image_that_pillow_tells_of(mode: str, width: int) -> None:
    image = library("PIL.Image").new(mode, (1000, 700), 77)
    library("pyarrow")
    one = row({"image": image}, "image")
    size = 1000 * 700 * width
    assert 0 <= one["bytes"] - size <= PAGE
    assert one["resident"] >= size
    assert one["says"] == f"{mode} 1000 x 700"
    start, end = max(find(image).blocks, key=lambda block: block[1] - block[0])
    assert end - start == size
    held = ctypes.string_at(start, size)
    assert (held if width == 1 or mode != "RGB" else bytes(np.frombuffer(held, np.uint8).reshape(-1, 4)[:, :3])) == (
        image.tobytes()
    )


def test_images_that_pillow_does_not_tell_of(tmp_path: Path) -> None:
    image = library("PIL.Image")
    library("pyarrow")
    large = image.new("RGB", (4000, 3000))
    mapped = image.frombuffer("L", (1000, 1000), bytearray(10**6), "raw", "L", 0, 1)
    large.save(tmp_path / "large.png")
    with image.open(tmp_path / "large.png") as file:
        for one, why in (
            (large, "are in several blocks of 16 MiB, of which Pillow does not tell where they are"),
            (mapped, "belong to the buffer or file that it was made of"),
            (file, "are not in memory: it was not read from its file yet, or was closed"),
        ):
            told = row({"one": one}, "one")
            assert told["bytes"] < 4 * PAGE
            assert why in told["remark"]
            with pytest.raises(TargetError, match=r"^the pixels of the ") as error:
                find(one)
            assert str(error.value).endswith(why)
        assert file._im is None  # it was not read for our sake


def test_data_sets_of_h5py_are_in_the_file_until_they_are_read(tmp_path: Path) -> None:
    h5py = library("h5py")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        on_file = file.create_dataset("x", data=np.ones(ROWS))
        read = on_file[:]
        namespace = {"on_file": on_file, "read": read, "file": file}
        check(namespace, "read", of_numpy(read))
        assert row(namespace, "on_file")["bytes"] < PAGE
        assert row(namespace, "file")["bytes"] < PAGE


def test_a_mapped_file_of_safetensors_is_as_resident_as_what_was_read(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [ROWS], "data_offsets": [0, 4 * ROWS]}}).encode()
    header += b" " * (-(8 + len(header)) % PAGE)
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + np.ones(ROWS, np.float32).tobytes())
    mapped: Any = np.memmap(path, mode="r", offset=8 + len(header))
    weights = mapped.view(np.float32)
    assert weights[:1000].sum() == 1000
    one = check({"mapped": mapped, "weights": weights}, "mapped", (mapped.ctypes.data, 4 * ROWS))
    assert one["resident"] < one["bytes"]
    assert row({"mapped": mapped, "weights": weights}, "weights")["says"] == f"float32 [{ROWS}], a view of mapped"


MAKE = {
    "torch": "torch.ones(1 << 25)",
    "polars": "polars.DataFrame({'n': numpy.arange(1 << 24)})",
    "pyarrow": "pyarrow.table({'n': numpy.arange(1 << 24)})",
    "scipy.sparse": "scipy.sparse.eye_array(1 << 24)",
    "xarray": "xarray.DataArray(numpy.ones(1 << 24))",
    "PIL.Image": "[PIL.Image.new('L', (3000, 3000)) for _ in range(15)]",
}


@pytest.mark.parametrize("name", MAKE)
def test_nothing_is_copied_or_imported(name: str) -> None:
    """In a process of its own, by the kernel's words about its greatest size."""
    library(name, "torch" if name == "torch" else "libraries")
    told = python(
        f"""
import re, sys, numpy, pyarrow, {name}, pte_magic
def kilobytes(what):
    return int(re.search(what + r":\\s*([0-9]+) kB", open("/proc/self/status").read())[1])
pte_magic.variables({{"small": [numpy.ones(3)]}})
made = {MAKE[name]}
before, size = set(sys.modules), kilobytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # VmHWM begins anew
found = pte_magic.variables({{"made": made}})
print(kilobytes("VmHWM") - size, int(found["bytes"][0]) >> 20, sorted(set(sys.modules) - before))
"""
    )
    grown, size, new = told.split(maxsplit=2)
    assert int(size) >= 120
    assert int(grown) < 24 << 10
    assert new == "[]"


@pytest.mark.parametrize("name", ["polars", "PIL.Image"])
def test_arrow_is_not_imported_for_it(name: str) -> None:
    library(name)
    told = python(
        f"""
import sys
sys.modules["pyarrow"] = None  # as where it is not installed
import {name}, numpy, pte_magic
one = {MAKE[name]}
one = one[0] if type(one) is list else one
found = pte_magic.variables({{"one": one}})
print(found["remark"][0])
"""
    )
    assert told.endswith("tells through Arrow where its data is: type import pyarrow")
    assert "pyarrow" in sys.modules or not told.startswith("the ndarray")
