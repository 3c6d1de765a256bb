"""A line is taken apart: options come first, and the rest is the target, whatever Python is in it."""

from __future__ import annotations

import json
import mmap
import re
import shlex
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError
from shells import Shell
from typed_lines import NAMES, expressions

from pte_magic.notebook.expressions import Names, evaluate
from pte_magic.notebook.extension import PteMagics
from pte_magic.notebook.options_and_target import Line, read
from pte_magic.notebook.placed_values import expanded
from pte_magic.notebook.pte_cell import DiffMagics
from pte_magic.notebook.stap_cell import StapMagics

OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "--walker pagemap": ("--walker", {"walker": "pagemap"}),
    "-w bpf": ("--walker", {"walker": "bpf"}),
    "--walker=stap": ("--walker", {"walker": "stap"}),
    "-whelper": ("--walker", {"walker": "helper"}),
    "-w=bpf": ("--walker", {"walker": "bpf"}),
    "--walk=bpf": ("--walker", {"walker": "bpf"}),
    "-e.5": ("--every", {"every": 0.5}),
    "-m": ("--map", {"map": True}),
    "--no-tables": ("--no-tables", {"tables": False}),
    "--runs": ("--runs", {"runs": True}),
    "-W": ("--watch", {"watch": True}),
    "--fram": ("--frames", {"frames": True}),
    "-e .5": ("--every", {"every": 0.5}),
    "--every 2": ("--every", {"every": 2.0}),
    "--decode d['--x']": ("--decode", {"decode": "d['--x']"}),
    "-d0x67": ("--decode", {"decode": "0x67"}),
    "--decode (a, 5)": ("--decode", {"decode": "(a, 5)"}),
    "--decode -5": ("--decode", {"decode": "-5"}),
    "--level pmd": ("--level", {"level": "pmd"}),
}
"""What is typed, which option that is, and what its value is."""


def taken(line: str, **names: Any) -> Line:
    return read(PteMagics.pte, line, {**NAMES, **names})


@given(
    expressions,
    st.lists(st.sampled_from(list(OPTIONS)), max_size=3, unique_by=lambda option: next(iter(OPTIONS[option][1]))),
    st.sampled_from([" ", "  ", " -- "]),
    st.sampled_from(["", ";", " ;", "  # --runs", ";  # it's b, c"]),
)
def test_what_follows_the_options_is_the_target(text: str, options: list[str], gap: str, end: str) -> None:
    line = taken(" ".join(options) + (" -- " if text.startswith("-") else gap) + text + end)
    assert line.target == text.strip()
    assert line.typed == [OPTIONS[option][0] for option in options]
    for option in options:
        for name, value in OPTIONS[option][1].items():
            assert getattr(line.options, name) == value
    assert line.is_silent == (";" in end.partition("#")[0])


@given(expressions, st.sampled_from(["--runs", "--walker pagemap", "--walker=pagemap --runs", "-m", "-w bpf -W"]))
def test_options_written_out_may_come_last(text: str, options: str) -> None:
    if "{" not in text:  # else it is no Python, and IPython would put something in
        assert taken(f"-- {text} {options}").target == f"{text.strip()} {options}"
    if not text.startswith("-"):
        last, first = taken(f"{text} {options}"), taken(f"{options} {text}")
        assert last == first
        assert last.target == text.strip()


@pytest.mark.parametrize(
    ("line", "typed", "target"),
    [
        ("", [], ""),
        ("b[:, -1]", [], "b[:, -1]"),
        ("a.reshape(50, -1)", [], "a.reshape(50, -1)"),
        ("a -r", [], "a -r"),  # r is defined
        ("a -m", ["--map"], "a"),
        ("a - -r", [], "a - -r"),
        ("a -r --runs", ["--runs"], "a -r"),
        ("-r a", ["--runs"], "a"),
        ("-- -r", [], "-r"),
        ("--5", [], "--5"),
        ("/srv/x -r", ["--runs"], "/srv/x"),
        ("/srv/x -r b --summary", ["--summary"], "/srv/x -r b"),
        ("-5", [], "-5"),
        ("-1 [heap]", [], "-1 [heap]"),
        ("-a", [], "-a"),
        ("-a[1]", [], "-a[1]"),
        ("-größe", [], "-größe"),
        ("-d['#']", [], "-d['#']"),
        ("-mr a", ["--map", "--runs"], "a"),
        ("--sum a", ["--summary"], "a"),
        ("--runs\ta", ["--runs"], "a"),
        ("\xa0--runs\xa0a\xa0", ["--runs"], "a"),
        ("--runs\na", ["--runs"], "a"),
        ("--runs --runs a", ["--runs", "--runs"], "a"),
        ("1234 [heap] --summary", ["--summary"], "1234 [heap]"),
        ("/srv/it's --summary", ["--summary"], "/srv/it's"),
        ("a,  d['--runs']", [], "a,  d['--runs']"),
        ("--decode 0x67 --level pmd --bits", ["--decode", "--level", "--bits"], ""),
        ("0x1000 --decode 5", ["--decode"], "0x1000"),
        ("a --help", ["--help"], "a"),
    ],
)
def test_lines_as_people_type_them(line: str, typed: list[str], target: str) -> None:
    found = taken(line)
    assert (found.typed, found.target) == (typed, target)


@pytest.mark.parametrize("letter", "rfbmMWh")
def test_a_letter_is_subtracted_only_if_it_is_a_variable(letter: str) -> None:
    names = {name: value for name, value in NAMES.items() if name != letter}
    assert read(PteMagics.pte, f"a -{letter}", names).target == "a"
    assert read(PteMagics.pte, f"a -{letter}", {**names, letter: 1}).target == f"a -{letter}"
    assert read(PteMagics.pte, "-rs", {**names, "rs": 1}).target == "-rs"
    assert read(PteMagics.pte, f"a [heap] -{letter}", {**names, letter: 1}).target == f"a [heap] -{letter}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--sumary a", "--sumary is not an option; did you mean '--summary'?"),
        ("a --sumary", "--sumary is not an option; did you mean '--summary'?"),
        ("a --sum", "--sum is not an option; did you mean '--summary'?"),
        ("--Runs a", "--Runs is not an option; did you mean '--runs'?"),
        ("--nonsense a", "--nonsense is not an option; the options are --walker, --tables, "),
        ("--t a", "--t may be --tables or --translation or --try; type one of them"),
        ("-runs a", "-runs is not an option; type --runs"),
        ("a --runs b", "--runs stands within the target; options come first, then the target"),
        ("a --walker bpf b", "--walker stands within the target; options come first, then the target"),
        ("a --b", "--b is not an option; did you mean '--bits'?"),
        ("\u2014runs a", "'\u2014runs' begins with a typographic dash; options begin with - or --"),
        ("\u2013runs a", "'\u2013runs' begins with a typographic dash; "),
        ("\u2212r a", "'\u2212r' begins with a typographic dash; "),
        ("a --walker=bpf b", "--walker stands within the target; "),
        ("a --runs --sum", "--sum is not an option; did you mean '--summary'?"),
        ("--walker= a", "--walker needs a value; type --walker NAME"),
        ("--walker '' a", "--walker needs a value; type --walker NAME"),
        ("--walker {''} a", "--walker needs a value; type --walker NAME"),
        ("--decode=", "--decode needs a value; type --decode VALUE"),
        ("--walker", "--walker needs a value; type --walker NAME"),
        ("a --walker", "--walker needs a value; type --walker NAME"),
        ("--walker --runs a", "--walker needs a value; type --walker NAME"),
        ("--walker -- a", "--walker needs a value; type --walker NAME"),
        ("--runs=yes a", "--runs takes no value, and 'yes' was typed; type --runs"),
        ("--walker bpf -w bpf a", "--walker is typed 2 times; type it once"),
        ("--tables --no-tables a", "--tables and --no-tables contradict each other; type one of them"),
        ("--every -1 a", "argument -e/--every: '-1' is not a number of seconds"),
        ("--every=x a", "argument -e/--every: 'x' is not a number of seconds"),
    ],
)
def test_a_wrong_option_is_one_line(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        taken(line)
    assert type(caught.value) is UsageError  # only exactly this is printed without a traceback
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$a", "a"),
        ("{a}", "(a)"),
        ("{pid} [heap]", "(pid) [heap]"),
        ("$pid all, {pid + 1} b", "pid all, (pid + 1) b"),
        ("{region}", "[heap]"),
        ("$region", "[heap]"),
        ("{pid} $region", "(pid) [heap]"),
        ("/srv/{s}.so", "/srv/text.so"),
        ("/srv/$s", "/srv/text"),
        ("{a, r}", "{a, r}"),
        ("{'x': a}", "{'x': a}"),
        ("{*b}", "{*b}"),
        ("f'{a}'", "f'{a}'"),
        ("pid f'{a}'", "pid f'{a}'"),
        ("pid {1: a}[1]", "pid {1: a}[1]"),
        ("d['$a']", "d['$a']"),
        ("{undefined}", "(undefined)"),
        ("/srv/{undefined}", "/srv/{undefined}"),
        ("/srv/'{s}'", "/srv/'{s}'"),
        ("{", "{"),
        ("a, /srv/{s}", "a, /srv/text"),
        ("pid ./{s}", "pid ./text"),
        ("pid {a: 1}[a]", "pid {a: 1}[a]"),
        ("$f.__name__", "f"),
    ],
)
def test_values_are_put_in_as_by_ipython_where_it_is_no_python_without(text: str, found: str) -> None:
    assert expanded(text, Names({**NAMES, "pid": 1234, "region": "[heap]"})) == found


@given(expressions)
def test_nothing_is_put_into_an_expression(text: str) -> None:
    assert expanded(text, Names(dict(NAMES))) == text


def test_values_of_options_are_put_in() -> None:
    line = taken(
        "--walker {name} --decode {entry} --every={often} -l $level {it}",
        name="bpf",
        level="pmd",
        entry=5,
        often=3,
        it="[heap]",
    )
    assert line.options.walker == "bpf"
    assert line.options.decode == "(entry)"
    assert (line.options.every, line.options.level) == (3, "pmd")
    assert line.target == "[heap]"


NEW = {"a.reshape(50, -1)"}
"""What no line of IPython's own kind can be: it takes the end for an option."""


def lines_of_documents() -> list[tuple[str, str]]:
    """Return the magics that README and the tutorials use, and the rest of their lines."""
    root = Path(__file__).parents[2]
    cells = [
        "".join(cell["source"])
        for path in sorted((root / "examples").glob("*.ipynb"))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    quoted = re.findall(r"`(%%?pte [^`…]*)`", (root / "README.md").read_text(encoding="utf-8"))
    lines = [line for text in (*cells, *quoted) for line in text.splitlines()]
    found = [re.fullmatch(r"(?:%px )?(?:\w+ = )?(%%?pte)((?: .*)?)", line) for line in lines]
    return sorted({(line[1], line[2]) for line in found if line and line[2].strip() not in NEW})


@pytest.mark.parametrize(("magic", "line"), lines_of_documents())
def test_what_documents_say_is_read_as_ipython_reads_lines(magic: str, line: str) -> None:
    method: Any = {"%pte": PteMagics.pte, "%%pte": DiffMagics.difference}[magic]
    expected = vars(
        method.parser.parse_args(shlex.split(line.partition("  #")[0].strip().removesuffix(";"), posix=False))
    )
    found = read(method, line, dict(NAMES))
    assert found.target.split() == expected.pop("target")
    assert {name: value for name, value in vars(found.options).items() if name != "target"} == expected


@pytest.mark.parametrize(
    "line",
    ["a --walker stap", "--walker stap a", "a --runs", "1234 [heap]", "child.pid a", "a[4096:]", "--bits a",
     "7f68aba31000-7f68aba41000", "--machine --map", "--watch --every 2 a"],
)  # fmt: skip
def test_what_earlier_documents_said_is_read_as_before(line: str) -> None:
    magic: Any = PteMagics.pte
    expected = vars(magic.parser.parse_args(shlex.split(line, posix=False)))
    found = taken(line)
    assert found.target.split() == expected.pop("target")
    assert {name: value for name, value in vars(found.options).items() if name != "target"} == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%pte -o q a", "-o is not an option of %pte; type %pte? for its options"),
        ("%pte a -o q", "-o is not an option of %pte; "),
        ("%pte -o=q a", "-o is not an option of %pte; "),
        ("%pte /srv/x -o", "-o is not an option of %pte; "),
        ("%pte -z a", "-z is not an option of %pte; "),
        ("%pte a -z", "-z is not an option of %pte; "),
        ("%pte -zr a", "-zr is not an option of %pte; "),
        ("%pte a, a -z", "-z is not an option of %pte; "),
        ("%pte a -r q", "-r stands within the target; options come first"),
        ("%pte -t a", "-t is not an option of %pte; type --tables or --translation or --try, or %pte? for its options"),
        ("%pte -tz a", "-tz is not an option of %pte; type %pte? for its options"),
        ("%pte a --map --colour rw", "--colour is not an option; did you mean '--color'?"),
        ("%pte a --colour rw --map", "--colour is not an option; did you mean '--color'?"),
        ("%%pte -z a\n1", "-z is not an option of %%pte; type %%pte? for its options"),
        ("%%pte a -q b\n1", "-q is not an option of %%pte; "),
        ("%pte a[zz]", "name 'zz' is not defined"),
        ("%pte zz -1", "name 'zz' is not defined"),
        ("%pte a - zz", "name 'zz' is not defined"),
    ],
)
def test_an_option_that_does_not_exist_is_named(tmp_path: Path, line: str, message: str) -> None:
    cell = Shell(tmp_path).run(line)
    assert cell.err.startswith(f"UsageError: {message}")
    assert len(cell.err.strip().splitlines()) == 1


@pytest.mark.parametrize("defined", ["", string.ascii_letters])
@pytest.mark.parametrize("letter", sorted(set(string.ascii_letters) - set("rfbmMWhwedl")))
def test_an_unknown_letter_is_named_whether_or_not_it_is_a_variable(letter: str, defined: str) -> None:
    called: list[int] = []
    names = {**dict.fromkeys(defined, 5), "a": 3, "call": lambda: called.append(1)}
    for line in ("-{} a", "-{} call()", "5 -{} a", "call() -{} a", "a, -{} a", "-{} [heap]", "self -{} a", "-{}=5 a",
                 "-{} {{call()}}", "-{} --runs a", "-{} -{} a", "--walker {{call()}} -{} a"):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            read(PteMagics.pte, line.format(letter, letter), dict(names))
        assert str(caught.value).startswith(f"-{letter} is not an option of %pte; type ")
        assert str(caught.value).endswith("%pte? for its options")
    if letter != "o":
        with pytest.raises(UsageError, match=f"^-{letter} is not an option of %%pte; type "):
            read(DiffMagics.difference, f"-{letter} a", dict(names))
    assert called == []
    assert read(PteMagics.pte, f"-- -{letter} a", dict(names)).target == f"-{letter} a"
    for python in (f"a + -{letter}", f"a -{letter}", f"(a -{letter}) all"):
        if defined:
            assert read(PteMagics.pte, python, dict(names)).target == python


@pytest.mark.parametrize("line", ["a -y", "call() -y", "-y", "call() -y + a", "a, call() -yy"])
def test_before_an_unknown_letter_at_the_end_nothing_is_evaluated(line: str) -> None:
    with pytest.raises(UsageError, match=r"^-yy? is not an option of %pte; type %pte\? for its options$"):
        taken(line, call=pytest.fail)
    names = {"y": 1, "yy": 2}
    assert taken(line, call=pytest.fail, **names).target == line  # Python's minus


def test_what_looks_like_a_letter_may_be_a_part_of_a_name(tmp_path: Path) -> None:
    for name in ("data -x 5", "data, -x 5"):
        (tmp_path / name).write_bytes(b"x" * 4096)
        with (tmp_path / name).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
            assert taken(name, x=1).target == name
            if "," not in name:
                assert taken(f"a, {name}").target == f"a, {name}"
        with pytest.raises(UsageError, match=r"^-x is not an option of %pte; "):
            taken(name, x=1)
    for text in ("deadbeef00 -feadbeef00", "1234 deadbeef00 -feadbeef00", "feadbeef00 -deadbeef00", "lambda y: a -y",
                 "a -id", "-a if a else -r"):  # fmt: skip
        assert taken(text).target == text


@pytest.mark.parametrize("line", ["-z", "-z 5", "5 -z", "-gz", "-g 5 -z", "-z=5"])
def test_an_unknown_letter_is_no_argument_of_a_script(line: str) -> None:
    said = r" is not an option of %%stap; type -- before the script's arguments, or %%stap\? for its options$"
    with pytest.raises(UsageError, match=said):
        read(StapMagics.stap, line, {"z": 1}, is_python=False)
    assert read(StapMagics.stap, f"-- {line}", {}, is_python=False).target == line
    assert read(StapMagics.stap, "-5 -0.5", {}, is_python=False).target == "-5 -0.5"


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("{call()}", 1),
        ("{call()}, a", 1),
        ("{call()}, {call()}", 1),
        ("{call()} + 1", 0),
        ("{call()} +1", 0),
        ("1 + {call()}", 0),
        ("not {call()}", 0),
        ("{call()} if a else b", 0),
        ("{call(pid)} {call()}", 2),
        ("{call('[heap]')}", 1),
        ("/srv/{call('x')}", 1),
        ("--walker {call('bpf')} a", 1),
        ("--decode {call(5)}", 1),
    ],
)
def test_what_is_put_in_is_evaluated_once(line: str, times: int) -> None:
    called: list[int] = []

    def call(value: object = None) -> object:
        called.append(1)
        return NAMES["b"] if value is None else value

    found = taken(line, call=call, pid=1234)
    assert len(called) == times
    assert found.options.decode in {None, "(call(5))"}
    for text, value in found.names.placed.items():  # and not again by what comes after
        assert evaluate(text, found.names) is value
    assert len(called) == times


def test_what_an_expression_assigns_is_a_variable() -> None:
    names: dict[str, Any] = {}
    assert evaluate("(new := 5)", Names(names)) == 5
    assert names["new"] == 5


def test_arguments_of_a_script_are_no_python() -> None:
    found = read(StapMagics.stap, "-gv -D'A=1 2' -D {a} {a} $s", {**NAMES, "gv": 1}, is_python=False)
    assert (found.typed, found.options.define) == (["--guru", "--verbose", "-D", "-D"], ["A=1 2", "{a}"])
    assert found.target == "{a} $s"


def test_an_expression_that_raises_is_not_evaluated_again(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.run("called = []\ndef fails():\n    called.append(1)\n    raise ValueError('one')")
    for line in ("%pte {fails()}", "%pte --walker {fails()} a", "%pte --decode {fails()}", "%%pte {fails()}\n1"):
        shell.run("called.clear()")
        assert shell.run(line).err == "UsageError: (fails()): ValueError: one (in fails, line 4)\n"
        assert len(shell.ip.user_ns["called"]) == 1


@pytest.mark.parametrize(
    "line",
    [
        "%pte {made()}",
        "%pte {os.getpid()} {made()}",
        "%pte --summary {made()}, a",
        "%pte --bits {made()}",
        "%%pte {made()}\n1",
        "%pte --map {made()}",
    ],
)
def test_a_line_evaluates_once_what_is_put_in(tmp_path: Path, line: str) -> None:
    shell = Shell(tmp_path)
    shell.run("called = []\nclass Made(np.ndarray): __hash__ = object.__hash__\n"
              "def made():\n    called.append(1)\n    return np.ones(9999).view(Made)")  # fmt: skip
    cell = shell.run(line)
    assert cell.result is not None, cell.err
    assert len(shell.ip.user_ns["called"]) == 1


def test_what_python_subtracts_is_no_option(tmp_path: Path) -> None:
    cell = Shell(tmp_path).run("z = 1\n%pte a -z")
    assert (cell.err, len(cell.result) > 0) == ("", True)


def test_a_letter_means_the_same_in_all_magics() -> None:
    magics: tuple[Any, ...] = (PteMagics.pte, DiffMagics.difference, StapMagics.stap)
    meant: dict[str, set[str]] = {}
    for magic in magics:
        for action in magic.parser._actions:
            for letter in action.option_strings:
                if not letter.startswith("--"):
                    meant.setdefault(letter, set()).add(action.dest)
    assert {letter: meanings for letter, meanings in meant.items() if len(meanings) > 1} == {}
    # Those of %%stap are stap's own, but for -t: SystemTap has its letters in its manual, and in its messages.
    assert {letter: meant[letter] for letter in ("-x", "-T", "-o", "-s")} == {
        "-x": {"target"}, "-T": {"timeout"}, "-o": {"out"}, "-s": {"buffer"}
    }  # fmt: skip
