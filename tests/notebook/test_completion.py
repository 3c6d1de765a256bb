"""What Tab offers: as a notebook asks for it, and without running any code of the objects that are offered."""

from __future__ import annotations

import mmap
import subprocess
from typing import TYPE_CHECKING

import pytest
from shells import Shell

from pte_magic import walkers
from pte_magic.linux.address_space import own
from pte_magic.targets.target import region_names
from pte_magic.workloads import fork_with, private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPY = """
ran = []
class Meta(type):
    def __getattr__(cls, name):
        ran.append(name)
        raise AttributeError
class Spy(metaclass=Meta):
    def __getattribute__(self, name):
        ran.append(name)
        return object.__getattribute__(self, name)
    def __getattr__(self, name):
        ran.append(name)
        raise AttributeError
    @property
    def pid(self):
        ran.append("property")
        return 5
    def __len__(self):
        ran.append("len")
        return 0
    __eq__ = __hash__ = __repr__ = __bool__ = None
spy = Spy()
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    shell.run(SPY)
    shell.run("import array, ctypes, pandas as pd")
    shell.run("count, largest, options, text = 5, 7, {}, 'x'\ndef compute(): pass")
    shell.run("""
    raw, view, numbers, number = b'x', memoryview(b'x'), array.array('i', [1]), ctypes.c_int(5)
    table, column, buffer, scalar = pd.DataFrame({'x': [1]}), pd.Series([1]), bytearray(9), np.float64(3)
    """)
    with mmap.mmap(-1, 4096) as shell.ip.user_ns["mapped"], subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        shell.ip.user_ns["child"] = child
        yield shell
        child.kill()


MEMORY = ["a", "buffer", "column", "mapped", "number", "numbers", "raw", "scalar", "table", "view"]


@pytest.fixture(params=["%pte ", "%%pte ", "df = %pte ", "%pte --runs ", "%pte a, ", "%pte child.pid "])
def before(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    return text


def offered(shell: Shell, line: str) -> list[str]:
    start = line.rpartition(" ")[0] + " "
    return [found.removeprefix(start) for found in shell.complete(line)]


def test_variables_with_memory_come_first(shell: Shell, before: str) -> None:
    found = offered(shell, before)
    assert found[: len(MEMORY)] == MEMORY
    rest = found[len(MEMORY) :]
    data = ["child", "count", "largest", "options", "spy", "text", "child.pid", "spy.pid"]
    assert [name for name in rest if name in data] == data
    assert rest.index("[heap]") > rest.index("child.pid")
    assert rest.index("np") > rest.index("all") > rest.index("[heap]")
    assert {"compute", "np", "pd"} <= set(rest)
    assert not {"In", "Out", "exit", "get_ipython", "_", "_i"} & set(found)
    assert "--walker" in found


@pytest.mark.parametrize(
    "protocol",
    ["__array_interface__", "__buffer__", "__dlpack__", "__arrow_c_array__", "__arrow_c_stream__", "__dataframe__"],
)
def test_what_exports_its_memory_comes_first(shell: Shell, protocol: str) -> None:
    shell.ip.user_ns["exporter"] = type("Exporter", (), {protocol: pytest.fail})()
    assert "exporter" in offered(shell, "%pte ")[: len(MEMORY) + 1]
    del shell.ip.user_ns["exporter"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("num", ["number", "numbers"]), ("large", ["largest"]), ("co", ["column", "count", "compute", "compile"]),
     ("memoryv", ["memoryview"]), ("child.", ["child.pid"]), ("[he", ["[heap]"]), ("[st", ["[stack]"]),
     ("al", ["all"]), ("[nonsense", [])],
)  # fmt: skip
@pytest.mark.parametrize("before", ["%pte ", "%%pte child.pid a, "])
def test_what_was_begun_is_completed(shell: Shell, before: str, word: str, expected: list[str]) -> None:
    found = offered(shell, before + word)
    assert [name for name in found if name in expected] == expected
    assert all(name.startswith(word) for name in found)


def test_a_comma_without_a_space_begins_a_target_too(shell: Shell) -> None:
    assert "%pte a,[heap]" in shell.complete("%pte a,[he")


def test_all_regions_are_offered(shell: Shell) -> None:
    assert set(region_names(own())) <= set(offered(shell, "%pte "))
    child = shell.ip.user_ns["child"]
    for line in (f"%pte {child.pid} [", "%pte 999999999 [", "%pte child.pid ["):
        assert "[heap]" in offered(shell, line)


@pytest.mark.parametrize("line", ["%pte --walker ", "%pte -w ", "%pte a --walker ", "%%pte -w "])
def test_walkers_are_offered_after_their_option(shell: Shell, line: str) -> None:
    assert offered(shell, line) == ["auto", *walkers.NAMES]
    assert offered(shell, line + "p") == ["pagemap"]


def test_values_after_an_equals_sign(shell: Shell) -> None:
    assert shell.complete("%pte --walker=st") == ["%pte --walker=stap"]
    assert shell.complete("%pte --walker=")[:2] == ["%pte --walker=auto", "%pte --walker=bpf"]


def test_levels_are_offered_after_their_option(shell: Shell) -> None:
    assert offered(shell, "%pte --decode 5 --level ")[-2:] == ["pmd", "pte"]
    assert offered(shell, "%pte --decode 5 -l pm") == ["pmd"]


def test_variables_are_offered_as_values_to_decode_only(shell: Shell) -> None:
    assert offered(shell, "%pte --decode ")[: len(MEMORY)] == MEMORY
    assert offered(shell, "%pte --watch --every ")[: len(MEMORY)] != MEMORY
    shell.ip.user_ns["not a name"] = b"x"  # as globals() lets anybody do
    assert "not a name" not in offered(shell, "%pte ")
    del shell.ip.user_ns["not a name"]


def test_names_with_an_underscore_are_offered_after_one(shell: Shell) -> None:
    shell.ip.user_ns["_mine"] = b"x"
    assert offered(shell, "%pte _mi") == ["_mine"]
    assert "_mine" not in offered(shell, "%pte ")
    del shell.ip.user_ns["_mine"]


def test_regions_are_those_of_the_pid_before(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "uniquely_theirs"
    path.write_bytes(b"x" * 4096)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        with fork_with(private_mapping(1)) as child:
            mapped.close()
            assert offered(shell, f"%pte {child.pid} uniq") == ["uniquely_theirs"]
            assert offered(shell, f"%pte a, {child.pid} uniq") == ["uniquely_theirs"]
            assert "uniquely_theirs" not in offered(shell, "%pte uniq")


def test_nothing_of_targets_is_offered_to_systemtap(shell: Shell) -> None:
    assert "[heap]" not in offered(shell, "%%stap [")
    assert "--settle" not in offered(shell, "%%pte --settle 5 --")


def test_processes_are_offered_to_systemtap(shell: Shell) -> None:
    assert offered(shell, "%%stap -x ") == ["self", "child.pid", "spy.pid"]
    assert offered(shell, "%%stap --ta") == ["--target", "--table"]


@pytest.mark.parametrize(
    "before", ["%pte ", "%pte a ", "%pte b[:, -1] ", "%pte child.pid a ", "%pte d['--runs'] ", "%pte a, b "]
)
def test_options_are_offered_before_and_after_the_target(shell: Shell, before: str) -> None:
    assert {"--walker", "--runs", "--map", "--watch"} <= set(offered(shell, before + "-"))
    assert offered(shell, before + "--ru") == ["--runs"]
    assert offered(shell, before + "--wa") == ["--walker", "--watch"]


@pytest.mark.parametrize(
    ("typed", "present", "absent"),
    [
        (
            "--runs",
            {"--walker", "--tables", "--no-tables"},
            {"--runs", "--summary", "--map", "--machine", "--decode", "--every"},
        ),
        ("-r", {"--walker", "--tables"}, {"--runs", "--summary"}),
        ("--watch", {"--every", "--walker"}, {"--tables", "--map"}),
        ("--decode 5", {"--level", "--bits"}, {"--walker", "--machine"}),
        ("--machine", {"--map", "--walker"}, {"--runs", "--tables"}),
        ("--tables", {"--runs", "--summary", "--frames"}, {"--no-tables", "--translation"}),
    ],
)
def test_options_that_would_be_refused_are_not_offered(
    shell: Shell, typed: str, present: set[str], absent: set[str]
) -> None:
    found = set(offered(shell, f"%pte {typed} --"))
    assert present <= found
    assert not absent & found


def test_within_brackets_and_after_dots_it_is_as_without_the_magic(shell: Shell) -> None:
    assert "%pte a.reshape" in shell.complete("%pte a.resh")
    assert "%pte a[largest" in shell.complete("%pte a[larg")
    assert not any("[heap]" in line for line in shell.complete("%pte a["))


def test_elsewhere_nothing_is_offered(shell: Shell) -> None:
    for line in ("%time --ru", "x --ru", "%ptes --ru", "%time x = %pte --ru", "print('%pte ', --ru"):
        assert not any("--runs" in found for found in shell.complete(line))


def test_no_code_of_an_object_runs(shell: Shell) -> None:
    shell.ip.user_ns["ran"].clear()  # what IPython does elsewhere is its own
    for line in ("%pte ", "%pte sp", "%%pte ", "%pte --decode ", "%%stap -x ", "%pte spy ", "%pte spy.pid ["):
        shell.complete(line)
    assert shell.ip.user_ns["ran"] == []


def test_after_unloading_nothing_is_offered(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for _ in range(2):
        assert shell.complete("%pte --ru") == ["%pte --runs"]
        shell.run("%unload_ext pte_magic")
        assert "%pte --runs" not in shell.complete("%pte --ru")
        shell.run("%load_ext pte_magic")
