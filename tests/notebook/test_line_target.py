"""What ``[PID] TARGET`` names: what is Python as a whole has no pid before it."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from conftest import needs_root, python
from handmade import PAGE
from hypothesis import assume, given
from hypothesis import strategies as st
from typed_lines import NAMES, expressions

from pte_magic.errors import PteMagicError, TargetError
from pte_magic.linux.address_space import own
from pte_magic.notebook.expressions import pid_of
from pte_magic.notebook.line_target import at_first_byte, named, named_together
from pte_magic.targets import target as targets
from pte_magic.workloads import fork_with, private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator


RANGE = re.compile(r"0x[0-9a-f]+ *- *0x[0-9a-f]+")
"""What is Python, too, but no expression of interest."""


def shown(value: object) -> list[str]:
    """Return the letters of a value's text: functions are elsewhere each time, and sets in another order."""
    return sorted(re.sub(r" at 0x[0-9a-f]+>", ">", repr(value)))


@given(expressions)
def test_an_expression_is_what_python_makes_of_it(text: str) -> None:
    try:
        expected = eval(text, dict(NAMES))  # noqa: S307  (made by the strategy)
    except Exception:  # noqa: BLE001  (whatever it raises)
        with pytest.raises(PteMagicError), named(text, dict(NAMES)):
            pass
        return
    assume(not RANGE.fullmatch(text))
    assume(not (text.isdecimal() and Path(f"/proc/{int(text)}").exists()))  # a process
    try:
        with named(text, dict(NAMES)) as found:
            assert (found.name, found.space) == (text, own())
            if re.fullmatch(r"\d+|0x[0-9a-f]+", text):
                assert found.meant.address == expected
            else:
                assert type(found.value) is type(expected)
                assert callable(expected) or shown(found.value) == shown(expected)
    except TargetError as error:
        # It was evaluated, and has no memory, or is a number that is no address.
        said = r"holds 0 bytes|is not a 64-bit address|is a kernel address|is not canonical|is the pid of a process"
        assert re.search(said, str(error))  # noqa: PT017  (most do not raise)


@given(st.integers(0, 9999), st.integers(0, 9999), st.sampled_from(["-", " - "]))
def test_two_numbers_in_hex_with_a_dash_are_a_range(start: int, end: int, dash: str) -> None:
    text = f"{start:#x}{dash}{end:#x}"
    assert RANGE.fullmatch(text)
    if end <= start:
        with pytest.raises(TargetError, match=r"is empty|the end lies before the start"), named(text, {}):
            pass
        return
    with named(text, {}) as found:
        assert (found.value, found.meant.address) == (None, None)
        assert found.meant.ranges == ((start & -PAGE, -(-end // PAGE) * PAGE),)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdin
        assert started.stdout
        started.stdin.write(b"\n")
        started.stdin.flush()
        assert started.stdout.readline() == b"\n"  # it has its heap, and waits
        yield started
        started.kill()


def there_is(text: str, **names: Any) -> tuple[int, str, object]:
    with named(text, names) as found:
        return found.space.pid, found.name, found.value


@pytest.mark.parametrize(
    "text",
    ["5 and a", "3 in a", "99999999 if x else a", "2 * a", "5 - a", "99999999 or a", "0 not in a", "a @ a",
     "3 @ small", "not x", "x if 0 else a", "self is a", "self if x else a", "a [0]", "a [x]", "a [x:]", "7 is not a",
     "self [0]", "pid - x", "lambda q, r: q", "f (a)", "a\t+\t1", "5 -a"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*with a literal:SyntaxWarning")
def test_an_operator_makes_no_pid(text: str) -> None:
    class Matrix:
        def __rmatmul__(self, other: int) -> int:
            return other * 10**8  # which is no pid

    names = {"a": np.ones(3), "x": 1, "small": Matrix(), "self": np.ones(3), "pid": 99999999, "f": np.copy}
    with named(text, dict(names)) as found:
        assert (found.space.pid, found.name) == (os.getpid(), text)
        expected = eval(text, dict(names))  # noqa: S307  (from above)
        assert callable(expected) or repr(found.value) == repr(expected)


@pytest.mark.parametrize(
    ("text", "name"),
    [("{pid} a", "a"), ("{pid}  a - 1", "a - 1"), ("child a", "a"), ("child.pid a[:, -1]", "a[:, -1]"),
     ("number a", "a"), ("child.pid + 0 a", "a"), ("d['the child'] a", "a"), ("max(1, child.pid) a", "a"),
     ("1 and child a", "a"), ("1 and child 7f68aba31000", "7f68aba31000"),
     ("child.pid [heap]", "[heap]"), ("{pid} [heap]", "[heap]"), ("d['the child'] [heap]", "[heap]"),
     ("{pid} (a)", "(a)"), ("{pid} all", "all"), ("child.pid 0x10000-0x20000", "0x10000-0x20000"),
     ("child.pid 7f68aba31000", "7f68aba31000"), ("child.pid\ta", "a"), ("number32 a", "a")],
)  # fmt: skip
def test_a_pid_before_the_target(text: str, name: str, child: subprocess.Popen[bytes]) -> None:
    names = {"a": np.ones((3, 3)), "child": child, "number": np.int64(child.pid), "d": {"the child": child},
             "number32": np.uint32(child.pid)}  # fmt: skip
    pid, found, _ = there_is(text.format(pid=child.pid) if "{pid}" in text else text, **names)
    assert (pid, found) == (child.pid, name)


@pytest.mark.parametrize("text", ["self a", "self [heap]", "self (a)", "self np.ones(3) *2"])
def test_self_is_this_process(text: str) -> None:
    assert there_is(text, a=np.ones(3), np=np)[:2] == (os.getpid(), text.removeprefix("self "))


def test_a_file_with_spaces_and_commas_is_one_target(tmp_path: Path) -> None:
    path = tmp_path / "data, of me"
    path.write_bytes(b"x" * 2 * PAGE)
    with path.open("rb") as file:
        mapped = np.memmap(file, mode="r")
        start = mapped.ctypes.data
        for text in (str(path), path.name):
            with named_together(text, {"data": 5, "of": 6}) as (found,):
                assert found.meant.ranges == ((start, start + 2 * PAGE),)


@pytest.mark.parametrize("name", ["data of [heap]", "my file x"])
def test_a_file_whose_name_looks_like_more_is_one_target(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x" * PAGE)
    mapped = np.memmap(path, mode="r")
    start = mapped.ctypes.data
    with named(str(path), {}) as found:
        assert found.meant.ranges == ((start, start + PAGE),)
    if "[" not in name:  # there, it is the heap of a process
        with fork_with(private_mapping(1)) as child, named(f"{child.pid} {path}", {}) as found:
            assert (found.space.pid, found.meant.ranges) == (child.pid, ((start, start + PAGE),))


def test_the_first_address_of_a_region_is_in_it_and_the_end_is_not() -> None:
    regions = own().regions()
    # That of the program: in the space behind it nobody maps, and the heap begins elsewhere (arch_randomize_brk()).
    end = next(one.end for one, after in pairwise(regions) if one.end < after.start)
    for within in (regions[0].start, end - 1):
        with named(hex(within), {}) as found:
            assert found.meant.note == ""
    with named(hex(end), {}) as found:
        assert found.meant.note == f"nothing is mapped at {end:#x}"


def test_an_error_of_an_expression_is_not_about_regions() -> None:
    with pytest.raises(TargetError, match=r"^libc\.so: AttributeError: "):
        there_is("libc.so", libc=5)


def test_names_that_are_defined_are_no_numbers_and_no_regions() -> None:
    a = np.ones(3)
    for name in ("deadbeef00", "heap", "libc", "ffffffff", "all"):
        pid, said, value = there_is(name, **{name: a})
        assert (pid, said) == (os.getpid(), name)
        assert value is a
    assert there_is("deadbeef00 - cafecafe00", deadbeef00=a, cafecafe00=1)[2] is not None
    assert there_is("deadbeef00 - feadbeef00")[2] is None
    with named("deadbeef00", {}) as found:
        assert found.meant.address == 0xDEADBEEF00
    for text in ("[a]", "[ a ]", "[a if a.any() else 5]"):
        assert there_is(text, a=a)[2] == [a]
    with named("[vdso]", {"vdso": a}) as found:  # which does not grow between two looks, as a heap does
        assert found.meant == targets.parse("[vdso]", own())


def test_a_lone_number_that_is_a_pid_is_the_whole_process(child: subprocess.Popen[bytes]) -> None:
    with named(str(child.pid), {}) as found:
        assert (found.space.pid, found.meant) == (child.pid, targets.parse("all", own()))
    with named(f"{child.pid:#x}", {}) as found:
        assert (found.meant.address, found.meant.note) == (child.pid, f"nothing is mapped at {child.pid:#x}")
    with named(f"{child.pid} all", {}) as found:
        assert found.space.pid == child.pid
    with named(f"{child.pid} {child.pid}", {}) as found:  # there a number can be an address only
        assert found.meant.address == child.pid


@needs_root
def test_what_is_hex_is_an_address_whatever_pids_there_are() -> None:
    code = """
import os, signal
from pte_magic.notebook.line_target import named
made = []
while not made or made[-1] < 0x10:
    made.append(os.fork() or signal.pause())
for text in ("010", "0x10"):
    with named(text, {}) as found:
        print(found.meant.address, found.meant.note)
for pid in made:
    os.kill(pid, signal.SIGKILL)
"""
    said = python(code, "unshare", "--pid", "--fork", "--mount-proc")  # where the first processes are these
    assert said.splitlines() == ["16 nothing is mapped at 0x10"] * 2


@pytest.mark.parametrize("text", ["child.pid", "n", "int(n)", "(n)", "number", "[n][0]", "n if n else 0"])
def test_an_expression_of_a_pid_alone_is_not_taken_for_an_address(child: subprocess.Popen[bytes], text: str) -> None:
    names = {"child": child, "n": child.pid, "number": np.int64(child.pid)}
    with pytest.raises(TargetError) as caught:
        there_is(text, **names)
    assert str(caught.value) == (
        f"{text}, {child.pid}, is the pid of a process, and nothing is mapped at that address; "
        f"type {text} all for the process, or {child.pid:#x} for the address"
    )
    with pytest.raises(TargetError, match="is the pid of a process"), named_together(f"child, {text}", names):
        pass


def test_of_every_address_at_which_nothing_is_mapped_a_note_says_so(child: subprocess.Popen[bytes]) -> None:
    # Nowhere near a program: the heap may begin up to 1 GiB behind one (arch_randomize_brk() of arch/x86).
    for text in ("1_000_000_000_000", "10**12", "nowhere", "0xe8d4a51000"):
        with named(text, {"nowhere": 10**12}) as found:
            assert (found.meant.address, found.meant.note) == (10**12, "nothing is mapped at 0xe8d4a51000")
    with named(f"{child.pid} 0x10000", {}) as found:
        assert found.meant.note == "nothing is mapped at 0x10000"
    a = np.ones(3)
    for text in ("a.ctypes.data", hex(a.ctypes.data)):
        with named(text, {"a": a}) as found:
            assert (found.meant.address, found.meant.note) == (a.ctypes.data, "")


class Broken:
    """Of which nothing can be asked."""

    @property
    def pid(self) -> int:
        message = "no pid today"
        raise RuntimeError(message)

    def __index__(self) -> int:
        message = "no number today"
        raise RuntimeError(message)


class Holder:
    def __init__(self) -> None:
        self.pid = Broken()


def test_a_pid_that_raises_is_one_line() -> None:
    names = {"broken": Broken(), "holder": Holder()}
    for text, said in (
        ("broken.pid all", "broken.pid: RuntimeError: no pid today (in pid, line "),
        ("broken all", "the pid of 'broken': RuntimeError: no pid today"),
        ("holder all", "the pid of 'holder': RuntimeError: no number today"),
    ):
        with pytest.raises(TargetError) as caught:
            there_is(text, **names)
        assert str(caught.value).startswith(said)
        assert "comma" not in str(caught.value)


def test_a_pid_of_a_subclass_is_a_plain_number() -> None:
    class Pid(int):
        __str__ = __format__ = Broken.__index__  # type: ignore[assignment]  # it cannot be shown

    found = pid_of("n", {"n": Pid(5)})
    assert (found, type(found)) == (5, int)


def test_which_letter_is_wrong_is_said_of_a_single_line() -> None:
    for text, is_said in (("(1, 2", True), ("(1,\n2", False)):
        with pytest.raises(TargetError, match="was never closed") as caught:
            there_is(text)
        assert str(caught.value).endswith(", at letter 1 of 5") == is_said


def test_a_lone_number_that_is_nothing_is_said_to_be_an_address() -> None:
    # Below vm.mmap_min_addr nothing is mapped; a program may begin where pids end, at 0x400000. The next processes get
    # the numbers behind the last one.
    last = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[-1])
    number = next(number for number in range(60_000, 0, -1)
                  if not last <= number < last + 10_000 and not Path(f"/proc/{number}").exists())  # fmt: skip
    with named(str(number), {}) as found:
        assert found.meant.address == number
        assert found.meant.note.startswith(
            f"nothing is mapped at {number:#x}, and no process has the pid {number}; {number} was read as decimal, "
        )
    for text, address in (("1e5", 0x1E5), ("0777", 0x777)):  # hex, as the note says
        with named(text, {}) as found:
            assert (found.meant.address, found.meant.note) == (address, f"nothing is mapped at {address:#x}")
    a = np.ones(3)
    with named(str(a.ctypes.data), {}) as found:  # as id() and ctypes show it
        assert (found.meant.address, found.meant.note) == (a.ctypes.data, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dat", "name 'dat' is not defined; did you mean 'data'?"),
        ("dta[5:]", "name 'dta' is not defined; did you mean 'data'?"),
        ("DATA", "name 'DATA' is not defined; did you mean 'data'?"),
        ("dta.pid [heap]", "name 'dta' is not defined; did you mean 'data'?"),
        ("dta data", "name 'dta' is not defined; did you mean 'data'?"),
        ("größee", "name 'größee' is not defined; did you mean 'größe'?"),
        ("runs", "name 'runs' is not defined; did you mean '--runs'?"),
        ("memoryviw(data)", "name 'memoryviw' is not defined; did you mean 'memoryview'?"),
        ("haep", "name 'haep' is not defined; did you mean '[heap]'?"),
        ("d[haep]", "name 'haep' is not defined; did you mean '[heap]'?"),
        ("[haep]", f"'[haep]' is not a region of pid {os.getpid()}; did you mean '[heap]'?"),
        ("libcc", "name 'libcc' is not defined; did you mean 'libc'?"),
        ("LIBC", "name 'LIBC' is not defined; did you mean 'libc'?"),
        ("self libcc", "name 'libcc' is not defined; did you mean 'libc'?"),
        ("[libcc]", f"'[libcc]' is not a region of pid {os.getpid()}; did you mean 'libc'?"),
        ("libc-", f"'libc-' is not a region of pid {os.getpid()}; did you mean 'libc'?"),
        ("lib-c.so.6", f"'lib-c.so.6' is not a region of pid {os.getpid()}; did you mean 'libc.so.6'?"),
        ("nonsense", "name 'nonsense' is not defined, here or as a region; see %pte? for possible targets"),
        ("self", "'self' is this process; type self TARGET, such as self all"),
        ("data größe", "'data' is not a pid; type a number, or an object that has a pid; between two targets type a "),
        ("True data", "'True' is not a pid; type a number, or an object that has a pid"),
        ("print(", "'print(' is not an address, region or Python expression: '(' was never closed, at letter 6 of 6"),
        ("data +", "'data +' is not an address, region or Python expression: invalid syntax"),
        ("data -", "'data -' is not an address, region or Python expression: invalid syntax"),
        ("x = data", "'x = data' is not an address, region or Python expression: "),
        ("da\0ta", "'da\\x00ta' is not an address, region or Python expression: "),
        ("(" * 5000, f"'{'(' * 60}…' is not an address, region or Python expression: "),
        ("-" * 200_000 + "1", f"'{'-' * 60}…' is not an address, region or Python expression: "),
        ("[" + "1, " * 50_000, "'[1, 1, "),
        ("data " * 20_000, "'data' is not a pid; "),
        ("9" * 5000, f"'{'9' * 60}…' is not an address, region or Python expression: "),
        ("1/0", "1/0: ZeroDivisionError: division by zero"),
        ("data['x']", "data['x']: IndexError: only integers"),
        ("{}['x']", "{}['x']: KeyError: 'x'"),
        ("d['\x1b']", r"d['\x1b']: KeyError: "),
        ("fails()", "fails(): ValueError: one (in fails, line "),
        ("calls()", "calls(): ValueError: one (in fails, line "),
        ("forgets()", "forgets(): NameError: name 'forgotten' is not defined (in forgets, line "),
        ("[forgotten for _ in data]", "name 'forgotten' is not defined"),
        ("table.loc['x']", "table.loc['x']: KeyError: 'x'"),
        ("finds()", "finds(): KeyError: 'x' (in finds, line "),
        ("escapes()", r"escapes(): ValueError: \x1b[31m (in escapes, line "),
        ("exec('a b')", "exec('a b'): SyntaxError: invalid syntax"),
        ("says_nothing()", "says_nothing(): Silent (in says_nothing, line "),
        ("long()", f"long(): ValueError: {'x' * 200}… (in long, line "),
        ("data[9:9]", "the ndarray holds 0 bytes, so there is no page to look at"),
    ],
)  # fmt: skip
def test_what_names_nothing_is_one_short_line(text: str, message: str) -> None:
    class Silent(Exception):  # noqa: N818  (it says nothing)
        def __str__(self) -> str:
            raise RuntimeError

    def fails() -> None:
        message = "one\ntwo"
        raise ValueError(message)

    def calls() -> None:
        fails()

    def forgets() -> None:
        forgotten  # type: ignore[name-defined]  # noqa: B018, F821  (that is the point)

    def finds() -> object:
        return table.loc["x"]

    def escapes() -> None:
        message = "\x1b[31m"
        raise ValueError(message)

    def says_nothing() -> None:
        raise Silent

    def long() -> None:
        raise ValueError("x" * 9999)

    table = pd.DataFrame({"column": [1]})
    functions: list[Any] = [finds, escapes, fails, calls, forgets, says_nothing, long]
    names = {"table": table, "data": np.ones(99), "größe": np.ones(9), "d": {}}
    names |= {function.__name__: function for function in functions}
    with pytest.raises(TargetError) as caught, named(text, names, options=["--runs", "--map"]):
        pass
    said = str(caught.value)
    assert said.startswith(message)
    assert said.isprintable()
    assert said.endswith("'x'") == ("['x']" in text and "data" not in text)  # not where in pandas
    assert len(said) < 400


def test_several_targets_are_one_for_each_process(child: subprocess.Popen[bytes]) -> None:
    a, b = np.ones(5 * PAGE), np.ones(7 * PAGE)
    names = {"a": a, "b": b, "child": child}
    with named_together("b, a, a[2:5], [vdso], child a, child.pid b", names) as (mine, theirs):
        assert (mine.space.pid, theirs.space.pid) == (os.getpid(), child.pid)
        assert mine.text == "b, a, a[2:5], [vdso]"
        parts = [targets.of_object(a), targets.of_object(b), targets.parse("[vdso]", own())]
        pages = {page for part in parts if part for start, end in part.ranges for page in range(start, end, PAGE)}
        assert [page for start, end in mine.meant.ranges for page in range(start, end, PAGE)] == sorted(pages)
        assert isinstance(mine.value, list)
        assert mine.value[0] is b  # held
    with named_together("a, a", names) as (once,):
        assert (once.text, once.value is a) == ("a", True)
    with named_together("0x10001-0x12001, 0x20001-0x22001", {}) as (both,):
        assert both.meant.note.count("was widened to whole pages") == 2
    with named_together("child 0x10001-0x12001, child a", names) as (both,):
        assert both.meant.note.startswith("child 0x10001-0x12001: 0x10001-0x12001 was widened to whole pages")
    with (
        pytest.raises(TargetError, match="'a,': a target is missing at a comma; type %pte a"),
        named_together("a,", names),
    ):
        pass


def test_the_first_byte_is_the_address_that_is_translated() -> None:
    a = np.ones((9, PAGE), np.uint8)
    for text, expected in (
        ("a", a.ctypes.data),
        ("a[3:, 5:]", a.ctypes.data + 3 * PAGE + 5),
        ("a[::-1]", a.ctypes.data),
    ):
        with named(text, {"a": a}) as found:
            one = at_first_byte(found)
            assert one.meant == targets.at(expected)._replace(note=f"{expected:#x}, the first byte of {text}")
            assert one.value is found.value
    with named("[heap]", {}) as found:
        start = found.meant.ranges[0][0]
        assert at_first_byte(found).meant.note == f"{start:#x}, the first address of [heap]"
    with named("0x12345", {}) as found:
        assert at_first_byte(found) is found
