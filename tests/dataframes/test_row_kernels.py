"""What is needed to decode goes with the rows, whatever pandas does to them; others' entries are not this machine's."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from machines import ARM_PAGE, PFN, X86_PAGE, arm, way, x86

import pte_magic
from pte_magic import PteFrame
from pte_magic.errors import TargetError
from pte_magic.linux import hardware

if TYPE_CHECKING:
    from collections.abc import Callable

C_BIT = 1 << 47  # AMD, as many machines have it


def by_file(write: str, read: Callable[..., pd.DataFrame], kind: type[Any] = io.BytesIO, **options: Any) -> Any:
    def sent(table: PteFrame) -> PteFrame:
        file = kind()
        getattr(table, write)(file, **options)
        file.seek(0)
        return PteFrame(read(file))

    return sent


def notes(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"vaddr": table["vaddr"].array, "note": [*"abcdef"][: len(table)]})


def without(table: Any) -> Any:
    """Return a frame as older versions made it, of which only `attrs` tell."""
    return table.drop(columns="format")


KEPT: dict[str, Callable[[Any], Any]] = {
    "as it was": lambda table: table,
    "of an older version": without,
    "runs": lambda table: table.runs(),
    "iloc": lambda table: table.iloc[:2],
    "loc": lambda table: table.loc[[0, 5]],
    "query": lambda table: table.query("size > 0"),
    "assign": lambda table: table.assign(more=1),
    "fewer columns": lambda table: table[["vaddr", "size", "level", "entry"]],
    "fewer columns, with the format": lambda table: PteFrame(pd.DataFrame(table[["level", "entry", "format"]])),
    "sorted": lambda table: table.sort_values("pfn", ascending=False).sort_values("pfn"),
    "sample": lambda table: table.sample(frac=1, random_state=1).sort_index(),
    "index": lambda table: table.set_index("vaddr").reset_index(),
    "merge": lambda table: table.merge(notes(table), on="vaddr"),
    "merge left": lambda table: table.merge(notes(table).iloc[:3], on="vaddr", how="left"),
    "merge of an older version": lambda table: without(table).merge(notes(table), on="vaddr"),
    "join": lambda table: table.join(pd.DataFrame({"note": range(6)})),
    "join of an older version": lambda table: without(table).join(pd.DataFrame({"note": range(6)})),
    "PteFrame": PteFrame,
    "PteFrame of an older version": lambda table: PteFrame(without(table)),
    "PteFrame of a DataFrame": lambda table: PteFrame(pd.DataFrame(table)),
    "PteFrame of columns": lambda table: PteFrame(table.to_dict("list")),
    "groupby apply": lambda table: table.groupby("pid").apply(lambda rows: rows, include_groups=False),
    "groupby apply runs": lambda table: table.groupby("pid", group_keys=False).apply(
        lambda rows: rows.runs(), include_groups=False
    ),
    "groupby head": lambda table: table.groupby("pid").head(2),
    "group": lambda table: next(iter(table.groupby("pid")))[1],
    "concat": lambda table: pd.concat([table, table]),
    "concat of older versions": lambda table: pd.concat([without(table), without(table)]),
    "concat of an older and a newer one": lambda table: pd.concat([without(table), table]),
    "copy": lambda table: table.copy(),
    "pickle": lambda table: pickle.loads(pickle.dumps(table)),  # noqa: S301  (our own)
    "cloudpickle": lambda table: pickle.loads(cloudpickle.dumps(table)),  # noqa: S301  (our own)
    "parquet": by_file("to_parquet", pd.read_parquet),
    "feather": by_file("to_feather", pd.read_feather),
    "csv": by_file("to_csv", pd.read_csv, io.StringIO, index=False),
}
MACHINES: dict[str, Callable[[], PteFrame]] = {
    "arm": arm,
    "x86": x86,
    "encrypted": lambda: x86(mask=C_BIT),
    "hidden": lambda: x86(hidden=True),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("way_", KEPT)
def test_an_entry_is_decoded_as_that_of_its_own_machine(way_: str, machine: str) -> None:
    table = MACHINES[machine]()
    found = KEPT[way_](table)
    assert type(found) is PteFrame
    said = found.bits(0).text()
    assert said == table.bits(0).text()
    page = ARM_PAGE if machine == "arm" else X86_PAGE
    assert ("page frame 0x" in said) == (machine != "hidden")
    assert (f"{PFN:#x}" in said) == (machine != "hidden")
    assert found["size"].iloc[0] == page if "size" in found else True
    if {"vaddr", "pfn"} <= set(found.columns):
        whole = found["bytes" if "bytes" in found else "size"].sum()
        assert found.runs()["bytes"].sum() == whole
        assert not whole % page


def test_the_rows_of_two_machines_are_each_decoded_as_their_own() -> None:
    tables = [arm(), x86(), x86(mask=C_BIT), x86(hidden=True)]
    for parts in (tables, [without(table) for table in tables], [tables[0], without(tables[1]), *tables[2:]]):
        both: Any = pd.concat(parts, ignore_index=True)
        assert type(both) is PteFrame
        assert isinstance(both["format"].dtype, pd.CategoricalDtype)  # a byte a row
        for again in (both, PteFrame(pd.DataFrame(both)), both.sample(frac=1, random_state=1).sort_index()):
            said = [again.bits(row).text() for row in (0, 6, 12, 18)]
            assert said == [table.bits(0).text() for table in tables]
        assert both.runs()["entries"].tolist() == [6] * 4
        assert both.runs()["bytes"].tolist() == [6 * ARM_PAGE, *[6 * X86_PAGE] * 3]


def test_pages_are_as_large_as_those_of_their_own_machine() -> None:
    both: Any = pd.concat([arm(), x86()], ignore_index=True)
    text = both.map(color="contiguity").text()
    assert "2 physically contiguous runs, the largest 96 KiB" in text
    assert both.summary()["bytes"].to_dict() == {
        ("present", X86_PAGE): 6 * X86_PAGE,
        ("present", ARM_PAGE): 6 * ARM_PAGE,
    }


def test_the_way_of_an_address_is_that_of_its_machine() -> None:
    for table in (arm(), x86()):
        there, other = way(table), way(x86() if table["host"].iloc[0] == "arm" else arm())
        page = int(table["size"].iloc[0])
        physical = (PFN + 5) * page
        for again in (there, PteFrame(pd.DataFrame(there)), pd.concat([other, there]).iloc[4:]):
            assert again.translation().physical == physical
            assert f"{physical:#x}" in again.translation().text()
            assert f"{PFN + 5:#x}" in repr(again).split("\n\n")[-1]


def test_what_is_of_two_machines_is_refused_in_one_line_that_names_both() -> None:
    both: Any = pd.concat([arm(), x86()], ignore_index=True)
    for one_, other in ((both, both), (x86(), both), (both, x86())):
        with pytest.raises(
            TargetError, match=r"several kernels, arm64_16k and x86_64; select the rows of one"
        ) as caught:
            one_.diff(other)
        assert "\n" not in str(caught.value)
    with pytest.raises(TargetError, match="the frame before has entries of arm64_16k, the frame after of x86_64"):
        arm().diff(x86())
    with pytest.raises(TargetError, match=r"arm64_16k.*x86_64|x86_64.*arm64_16k"):
        pd.concat(
            [way(x86()).iloc[:3], way(arm()).iloc[3:].assign(vaddr=np.uint64(x86()["vaddr"].iloc[-1]))]
        ).translation()
    one = both[both["format"] == both["format"].iloc[0]]
    assert one.diff(arm()).empty


def test_kernels_of_one_format_are_told_apart_by_what_they_do() -> None:
    both: Any = pd.concat([x86(mask=C_BIT), x86()], ignore_index=True)
    both["vaddr"] = np.arange(12, dtype=np.uint64) * np.uint64(X86_PAGE)
    with pytest.raises(TargetError, match=rf"encryption_mask={C_BIT:#x}"):
        both.diff(both)
    assert f"encryption_mask={C_BIT:#x}" in repr(both)


def test_what_nobody_knows_is_not_said() -> None:
    table = PteFrame(pd.DataFrame(arm()).drop(columns="format"))
    with pytest.raises(
        TargetError, match="the kernel of these entries is not known, so they cannot be decoded"
    ) as caught:
        table.bits()
    assert "'format'" in str(caught.value)
    with pytest.raises(TargetError, match="the frame before cannot be compared"):
        table.diff(arm())
    assert "page frame" not in repr(PteFrame(pd.DataFrame(way(arm())).drop(columns="format")))
    large = pd.DataFrame(x86().assign(level="pmd", size=np.uint64(2 << 20))).drop(columns="format")
    with pytest.raises(TargetError, match="so its page size is not known either"):
        PteFrame(large).runs()
    assert repr(PteFrame(pd.concat([large] * 20)))
    part: Any = pd.concat([x86(), pd.DataFrame(arm()).drop(columns="format")], ignore_index=True)
    assert part.bits(0).text() == x86().bits(0).text()
    with pytest.raises(TargetError, match="the kernel of these entries is not known"):
        part.bits(6)


@pytest.mark.parametrize("text", ["", "x86_64", "x86_64 9", "sparc 4", "x86_64 four", "x86_64 4 encryption_mask=yes"])
def test_a_format_that_somebody_wrote_is_refused_in_one_line(text: str) -> None:
    table = x86().assign(format=text)
    with pytest.raises(TargetError, match="is not a format of entries; leave the column format as"):
        table.bits()
    assert repr(table)


def test_the_column_is_shown_where_it_tells_something() -> None:
    own = pte_magic.walk(bytes(9999))
    assert len(own["format"].cat.categories) == 1
    assert hardware.encoding() not in repr(own)
    other = arm() if hardware.encoding() != "arm64_16k" else x86()
    assert repr(other).splitlines()[-1].endswith(f"format {other['format'].iloc[0].split()[0]}]")
    lines = repr(pd.concat([arm(), x86()])).splitlines()
    assert (
        [line.split().count("arm64_16k") for line in lines].count(1)
        == [line.split().count("x86_64") for line in lines].count(1)
        == 6
    )


def test_a_difference_names_bits_as_its_own_kernels_do() -> None:
    before, after = x86(mask=C_BIT), x86(mask=C_BIT)
    after["entry"] = after["entry"].to_numpy(np.uint64) & ~np.uint64(C_BIT)
    found = before.diff(after)
    assert "-encrypted" in repr(found)
    other = arm().diff(arm().assign(entry=arm()["entry"].to_numpy(np.uint64) | np.uint64(1 << 52)))
    for again in (
        pickle.loads(pickle.dumps(found)),  # noqa: S301  (our own)
        type(found)(pd.DataFrame(found)),
        pd.concat([found, found]),
        pd.concat([found, other]),
        found.merge(pd.DataFrame({"vaddr": found["vaddr"].array, "note": 1}), on="vaddr"),
    ):
        assert type(again) is type(found)
        assert "-encrypted" in repr(again)
    assert "+cont" in repr(pd.concat([found, other]))
