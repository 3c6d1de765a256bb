"""Python's values in a cell, and a place in what SystemTap gets is found in the cell again."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.errors import SystemTapError
from pte_magic.notebook.stap.cell_script import Cell, fill

A = np.arange(4)
NAMES: dict[str, Any] = {"n": 5, "low": -3, "a": A, "text": 'one "word"', "größe": 7, "vma": object()}


def body(cell: str, names: dict[str, Any] = NAMES) -> str:
    """Return the lines that a cell became, without the one that declares variables."""
    return fill(cell, names).script.partition("\n")[2]


def test_a_number_in_a_handler_is_set_when_the_module_is_loaded() -> None:
    cell = fill("probe begin { print($n + $low * $n) }", NAMES)
    assert cell.script == (
        "global __python_n = 0, __python_low = 0\nprobe begin { print(__python_n + __python_low * __python_n) }"
    )
    assert cell.variables == {"__python_n": 5, "__python_low": -3}


def test_another_value_needs_no_other_script() -> None:
    text = "probe begin { print($n + $a) }"
    one, two = fill(text, {"n": 1, "a": A}), fill(text, {"n": 2, "a": A.copy()})
    assert one.script == two.script
    assert one.variables != two.variables


def test_an_array_is_its_address() -> None:
    assert fill("probe begin { print($a) }", NAMES).variables == {"__python_a": A.ctypes.data}
    data = bytearray(b"data")
    address = np.frombuffer(data, np.uint8).ctypes.data
    assert fill("probe begin { print($data) }", {"data": data}).variables == {"__python_data": address}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("probe timer.ms($n) {}", "probe timer.ms(5) {}"),
        ("global x[$n]", "global x[5]"),
        ("probe kernel.trace($text) {}", 'probe kernel.trace("one \\042word\\042") {}'),
        ("probe begin { print($text) }", 'probe begin { print("one \\042word\\042") }'),
        ("probe end { y = @hist_linear(x[pid()], $low, $n, 1) }", "probe end { y = @hist_linear(x[pid()], -3, 5, 1) }"),
        ("probe end { print(@hist_log(x)) if ($n) {} }", "probe end { print(@hist_log(x)) if (__python_n) {} }"),
        ("%( $n > 3 %? probe begin { x = $n } %)", "%( 5 > 3 %? probe begin { x = __python_n } %)"),
        ("probe begin { %( $n > 3 %? x = $n %: x = ($low) %) y = $n }",
         "probe begin { %( 5 > 3 %? x = __python_n %: x = (__python_low) %) y = __python_n }"),
        ("@define five %( $n %)\nprobe begin { x = $n }", "@define five %( 5 %)\nprobe begin { x = __python_n }"),
        ("probe begin { x = a&$n; y = x&&$n }", "probe begin { x = a&__python_n; y = x&&__python_n }"),
        ("probe begin { if ($n) { x } y = $n }", "probe begin { if (__python_n) { x } y = __python_n }"),
    ],
)  # fmt: skip
def test_what_must_be_a_literal_is_one(text: str, filled: str) -> None:
    assert body(text) == filled


@pytest.mark.parametrize(
    "text",
    [
        "x = $unknown",
        "x = $vma->vm_start",
        "x = $vma  -> vm_start",
        "x = $n[0] + $n$ + $n$$",
        "x = $$vars . $$n . $$parms$",
        "x = $1 + $2",
        "if (@defined($n)) {}",
        "if (@defined($n->x[f(1)], $n)) {}",
        'x = @var("n@mm/mmap.c")',
        'x = @var("n", "kernel")',
        "// $n",
        "# $n",
        "/* $n\n $n */",
        '"$n \\" $n"',
        "%{ $n } %}",
    ],
)
def test_what_is_none_of_pythons_stays_as_it_is(text: str) -> None:
    cell = fill(f"probe begin {{ {text}\n}}", NAMES)
    assert cell.script == f"\nprobe begin {{ {text}\n}}"
    assert cell.variables == {}


def test_after_what_stays_python_goes_on() -> None:
    text = "probe begin {{ {} $n }}"
    for before in ("/* } */", '"}"', "// }\n", "# }\n", "%{ } %}", "@defined($n)", '@var("n@x.c")'):
        assert body(text.format(before)) == text.format(before).replace(" $n }", " __python_n }")


def test_a_target_variable_can_be_named_whatever_python_has() -> None:
    assert body('probe kernel.trace("x") { x = @var("n") + $n }') == 'probe kernel.trace("x") { x = $n + __python_n }'


def test_letters_may_be_any() -> None:
    cell = fill("probe begin { x = $größe }", NAMES)
    assert cell.variables == {"__python_gr_uf6_udfe": 7}
    assert "$" not in cell.script


def test_the_c_compiler_counts_as_the_cell_does() -> None:
    filled = body("%{\n#include <a.h>\n%}\nfunction f:long() %{ /* pure */\n  return $n; %}\nprobe begin %{ x %}")
    seen: dict[str, tuple[int, int]] = {}
    number = 0
    for line in filled.splitlines():  # as a compiler does
        if found := re.fullmatch(r'#line (\d+) "(.*)"', line):
            number = int(found[1]) if found[2] == "C of the cell" else -1000
            continue
        for word in ("#include", "/* pure", "return", "x "):
            if word in line and number > 0:
                seen[word] = (number, line.index(word) + 1)
        number += 1
    assert seen == {"#include": (3, 1), "/* pure": (5, 22), "return": (6, 3), "x ": (7, 16)}


BRACKETS = ["{", "}", "(", ")", "%{", "%}", "%(", "%?", "%)", "@defined(", "@hist_log(", '"', "/*", "*/", "//"]
WORDS = ["probe begin {", "$n", "$text", "$größe", '@var("n")', "\n", " ", "\t", "é", "x", "1", "->", "[", "$", "+"]
PIECES = st.sampled_from(BRACKETS + WORDS)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_every_place_is_found_again(text: str) -> None:
    cell = fill(text, NAMES)
    for start, origin, length in cell.copied:
        assert cell.script[start : start + length] == text[origin : origin + length]
        for at in range(length):
            *above, within = cell.script[: start + at].split("\n")
            *typed_above, typed = text[: origin + at].split("\n")
            # SystemTap counts bytes; the magic's own line is the cell's first.
            place = cell.place(len(above) + 1, len(within.encode()) + 1)
            assert place == (len(typed_above) + 2, len(typed) + 1)
    assert cell.place(cell.script.count("\n") + 5, 1)[0] <= text.count("\n") + 2


def test_a_replaced_word_is_where_it_was_typed() -> None:
    cell = fill("probe begin {\n  x = $n + $text + $nonsense\n}", NAMES)
    line, column = 3, cell.script.split("\n")[2].index("$nonsense") + 1
    assert cell.place(line, column) == (3, 20)
    assert cell.line(3) == "  x = $n + $text + $nonsense"
    assert cell.place(3, 7) == cell.place(3, 11) == (3, 7)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (1 << 64, "$x is 18446744073709551616, which has more than 64 bits"),
        (-(1 << 63) - 1, "$x is -9223372036854775809, which has more than 64 bits"),
        (1.5, "$x is 1.5, and SystemTap has whole numbers only; type x = int(x) first"),
        (np.float32(2), "$x is 2.0, and SystemTap has whole numbers only"),
        ([1], "$x is a list, and SystemTap takes numbers, texts and arrays (their address); "),
        (None, "$x is a NoneType, and SystemTap takes"),
        (print, '@var("x")'),
        (int, "$x is a type, and SystemTap takes"),
        (np.empty(0), "$x: the ndarray holds 0 bytes"),
        ("a\0b", "$x is a text with a zero byte"),
        ("é" * 256, "$x is a text of 512 bytes, and SystemTap's have 511 at most"),
        (type("Gpu", (), {"__dlpack_device__": lambda _: (2, 0)})(), "$x: the Gpu lies in the memory of a CUDA GPU"),
    ],
)
def test_an_error_names_the_value(thing: object, message: str) -> None:
    for text in ("probe begin { print($x) }", "probe timer.ms($x) {}"):
        with pytest.raises(SystemTapError) as raised:
            fill(text, {"x": thing})
        assert message in str(raised.value)


def in_c(number: int) -> int:
    return np.uint64(number % (1 << 64)).astype(np.int64).item()


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_a_number_has_64_bits_and_a_sign(number: int) -> None:
    assert fill("probe begin { x = $n }", {"n": number}).variables == {"__python_n": in_c(number)}
    assert body("probe timer.ms($n) {}", {"n": number}) == f"probe timer.ms({in_c(number)}) {{}}"


@pytest.mark.parametrize(
    ("thing", "number"),
    [(True, 1), (np.True_, 1), (np.uint64((1 << 64) - 1), -1), (np.int8(-1), -1), (np.uint8(255), 255)],
)
def test_numpys_numbers_are_numbers(thing: object, number: int) -> None:
    assert fill("probe begin { x = $n }", {"n": thing}).variables == {"__python_n": number}


def c_string(literal: str) -> bytes:
    """Read a literal as SystemTap's translator and then C do."""
    assert (literal[0], literal[-1]) == ('"', '"')
    found = re.findall(rb"\\([0-7]{3})|([^\\\"])", literal[1:-1].encode())
    return b"".join(bytes([int(octal, 8)]) if octal else plain for octal, plain in found)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100))
def test_a_text_arrives_as_it_is(text: str) -> None:
    filled = body("probe begin { print($text) }", {"text": text})
    assert "\n" not in filled
    assert c_string(filled.removeprefix("probe begin { print(").removesuffix(") }")) == text.encode()


@given(st.text())
def test_any_text_is_a_cell(text: str) -> None:
    assert isinstance(fill(text, NAMES | {"vma": 0}), Cell)
