"""SystemTap's messages, as it printed them (5.6), and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from pte_magic.notebook.stap.cell_script import fill
from pte_magic.notebook.stap.messages import explain

TEXT = """\
probe begin {
  x = $n + $text . foo($n)
  /* größe */ print( }
}
%{
  #include <nothing.h>
%}
"""
NAMES: dict[str, Any] = {"n": 5, "text": "a long text"}
CELL = fill(TEXT, NAMES)
SCRIPT = CELL.script.split("\n")


def told(line: int, word: str) -> tuple[str, str]:
    """Return the place of a word in the script, and the two lines in which SystemTap shows it, as it writes them."""
    before = SCRIPT[line - 1].partition(word)[0]
    place = f"pte_magic_cell.stp:{line}:{len(before.encode()) + 1}"
    return place, f"source: {SCRIPT[line - 1]}\n        {' ' * len(before.encode())}^"


def test_a_parse_error() -> None:
    place, source = told(4, "}")
    message = f"""\
WARNING: Kernel function symbol table missing [man warning::symbols]
parse error: expected literal string or number
        saw: operator '}}' at {place}
     {source.replace(chr(10), chr(10) + "     ")}

1 parse error.
Pass 1: parse failed.  [man error::pass1]
Tip: /usr/share/doc/systemtap/README.Debian should help you get started.
"""
    assert explain(message, CELL).splitlines() == [
        "parse error: expected literal string or number",
        "        saw: operator '}' at line 4, column 22 of the cell",
        "     source:   /* größe */ print( }",
        "                                  ^",
    ]
    assert TEXT.splitlines()[4 - 2][22 - 1] == "}"


def test_a_semantic_error_is_said_once_and_in_the_words_of_the_cell() -> None:
    place, source = told(3, "foo")
    message = f"""\
semantic error: unresolved function foo (similar: log, HZ, pn, pp, cpu): identifier 'foo' at {place}
        {source}

semantic error: unresolved type : identifier '__python_n' at {place.removeprefix("pte_magic_cell.stp")}
        {source}

Pass 2: analysis failed.  [man error::pass2]
Number of similar error messages suppressed: 1.
Rerun with -v to see them.
"""
    first, second, third = explain(message, CELL).splitlines()
    assert first == (
        "semantic error: unresolved function foo (similar: log, HZ, pn, pp, cpu): identifier 'foo' at "
        "line 3, column 20 of the cell"
    )
    assert second.endswith("source:   x = $n + $text . foo($n)")
    assert second[third.index("^") :] == "foo($n)"


def test_two_places_are_two_errors() -> None:
    message = "".join(f"semantic error: type mismatch: number at {told(3, word)[0]}\n\n" for word in ("x =", "foo"))
    assert len(explain(message, CELL).splitlines()) == 2


def test_an_error_of_the_c_compiler() -> None:
    message = """\
C of the cell:7:12: fatal error: nothing.h: No such file or directory
compilation terminated.
make[2]: *** [/usr/src/linux-headers-7.2/scripts/Makefile.build:294: pte_magic_cell_src.o] Error 1
WARNING: kbuild exited with status: 2
Pass 4: compilation failed.  [man error::pass4]
Kernel version 7.2.12+deb14 is within tested range 3.10 ... 7.3.0-rc3
"""
    assert explain(message, CELL).splitlines() == [
        "error in C: nothing.h: No such file or directory at line 7, column 12 of the cell",
        " source:   #include <nothing.h>",
        "                    ^",
    ]


def test_an_error_of_the_running_script() -> None:
    place = told(3, "foo")[0]
    message = f"""\
ERROR: division by 0 near operator '/' at {place} (called from identifier 'half' at {told(3, "x =")[0]}) in probe begin
WARNING: Number of errors: 1, skipped probes: 0
"""
    assert explain(message, CELL) == (
        "ERROR: division by 0 near operator '/' at line 3, column 20 of the cell "
        "(called from identifier 'half' at line 3, column 3 of the cell) in probe begin"
    )


def test_a_place_in_a_tapset_is_left() -> None:
    message = (
        "semantic error: x: identifier 'y' at /usr/share/systemtap/tapset/linux/task.stp:10:5\n  source: y\n     ^\n"
    )
    assert explain(message, CELL) == message.rstrip()


NO_SYMBOLS = """\
WARNING: Kernel function symbol table missing [man warning::symbols]
semantic error: while resolving probe point: identifier 'kprobe' at pte_magic_cell.stp:1:7

semantic error: no match
"""


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("parse error: embedded code in unprivileged script; need stap -g", "(type %%stap -g)"),
        ("ERROR: MAXACTION exceeded near keyword at pte_magic_cell.stp:3:8", "(type %%stap -D MAXACTION=100000"),
        ("ERROR: Array overflow, check MAXMAPENTRIES near identifier 'a'", "(type %%stap -D MAXMAPENTRIES=…"),
        ("ERROR: Skipped too many probes, check MAXSKIPPED or", "(type %%stap -D MAXSKIPPED=…"),
        ("ERROR: probe overhead (896547586 cycles) exceeded threshold", "(type %%stap -D STP_NO_OVERLOAD"),
        ("WARNING: There were 12 transport failures. Try stap -s to increase", "(output was lost; type %%stap -s 64"),
        ("WARNING: There were 1 lost messages, 2 lost bytes", "(output was lost; type %%stap -s 64"),
        (
            "semantic error: unresolved target-symbol expression: identifier '$nonsense' at pte_magic_cell.stp:1:23",
            "($nonsense is neither a variable of Python nor one of this probe point)",
        ),
        (
            "semantic error: unable to find tracepoint variable '$x' (alternatives: $regs, $$name): identifier '$x' at",
            "($x is neither a variable of Python nor one of this probe point)",
        ),
        (
            "WARNING: cannot find module kernel debuginfo: No DWARF information found [man warning::debuginfo]",
            "`sudo apt install linux-image-$(uname -r)-dbg`",
        ),
        (
            NO_SYMBOLS,
            "`sudo apt install linux-image-$(uname -r)-dbg`",
        ),
        ("ERROR: Couldn't insert module 'x.ko': Key was rejected by service", "takes signed modules only"),
    ],
)
def test_what_to_type(message: str, hint: str) -> None:
    last = explain(message, CELL).splitlines()[-1]
    assert hint in last
    assert "[man" not in explain(message, CELL)


UNSIGNED = """\
WARNING: Kernel function symbol table missing [man warning::symbols]
........+...+..+.+...........+..........+......+..+.+..+.........+...+.......+...........+..........+....+++++*.+......+
....+.....+.+++++++++++++++++++++++++++++++++++++++++++++*............+.+.....+...+....+...+.....+.......+...+.........+
-----
Running sign-file failed
There is no machine owner key (MOK) in common with this system.
Generated a new rsa MOK. Use the following command to import it into this system, then reboot:

\t# sudo mokutil --import /home/me/.cache/moks/c8:0e/signing_key.x509
Tip: /usr/share/doc/systemtap/README.Debian should help you get started.
"""


def test_a_key_that_is_not_enrolled() -> None:
    assert explain(UNSIGNED, CELL).splitlines() == [
        "the module cannot be signed",
        (
            "(this kernel takes signed modules only (Secure Boot), and does not know SystemTap's key: type "
            "`sudo mokutil --import /home/me/.cache/moks/c8:0e/signing_key.x509`, boot again, confirm, and try again)"
        ),
    ]


def test_what_says_nothing_is_nothing() -> None:
    noise = """\
WARNING: Kernel function symbol table missing [man warning::symbols]
Kernel version 7.2.12+deb14 is within tested range 3.10 ... 7.3.0-rc3
Tip: /usr/share/doc/systemtap/README.Debian should help you get started.
WARNING: Number of errors: 1, skipped probes: 0
"""
    assert explain(noise, CELL) == ""
    assert explain("", CELL) == ""


def test_a_warning_stays() -> None:
    place, source = told(3, "x =")
    message = (
        f"WARNING: Eliding assignment to 'x': operator '=' at {place}\n {source.replace(chr(10), chr(10) + ' ')}\n"
    )
    assert explain(message, CELL).splitlines() == [
        "WARNING: Eliding assignment to 'x': operator '=' at line 3, column 3 of the cell",
        " source:   x = $n + $text . foo($n)",
        "           ^",
    ]
