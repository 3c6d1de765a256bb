"""Numbers as they are printed by those from whom people copy them: C's printf(3), Python's repr() and hex()."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.notebook.expressions import entry
from pte_magic.text.typed_numbers import TypedNumber, number

words = st.integers(0, (1 << 64) - 1)
either = st.booleans()


@given(words, either)
def test_a_prefix_is_believed(value: int, digits_are_hex: bool) -> None:
    for text in (hex(value), hex(value).upper(), f"{value:#_x}", oct(value), f" {value:#x} "):
        assert number(text, digits_are_hex=digits_are_hex) == TypedNumber(value)
    assert number(f"{value:#066b}", digits_are_hex=digits_are_hex) == TypedNumber(value)


@given(words)
def test_what_an_oops_prints_is_read_back(value: int) -> None:
    for text in (b"%x" % value, b"%016x" % value, b"%016X" % value):  # printk's %lx and %016lx
        found = number(text.decode(), digits_are_hex=True)
        if found is None:  # begins with a letter, and is short: a name
            assert len(text) < 8
            assert text[:1].isalpha()
        elif text[:2].lower() == b"0b" and "binary" in found.note:
            assert f"0x{text.decode()}" in found.note
        else:
            assert found.value == value
            assert bool(found.note) == (text.isdigit() and value > 9 and text[:1] != b"0")


@given(words)
def test_what_python_prints_is_read_back(value: int) -> None:
    found = number(str(value), digits_are_hex=False)
    assert found is not None
    assert found.value == value
    assert (f"for hex type 0x{value}" in found.note) == (9 < value < 10**16)
    assert number(f"{value:_}", digits_are_hex=True) == TypedNumber(value) or value < 1000


@pytest.mark.parametrize(
    ("text", "value", "note"),
    [
        ("800fffffa7598063", 0x800FFFFFA7598063, ""),
        ("7f68aba31000", 0x7F68ABA31000, ""),
        ("ffff888000000000", 0xFFFF888000000000, ""),
        ("1530160e7", 0x1530160E7, ""),  # Python would read a float
        ("00400000", 0x400000, ""),
        ("08048000", 0x8048000, ""),
        ("0", 0, ""),
        ("9", 9, ""),
        ("106923061", 0x106923061, "106923061 was read as hex, 0x106923061; for the decimal type 0x65f8435"),
        ("9223372042542342247", 0x8000000153016067, "9223372042542342247 was read as decimal, 0x8000000153016067"),
        ("99999999999999999999", 99999999999999999999, ""),
        ("1_000", 1000, ""),
        ("0b101000", 0b101000, "0b101000 was read as binary, 0x28; for hex type 0x0b101000"),
        ("0b2f1000", 0x0B2F1000, ""),
        ("0x10000000000000067", 0x10000000000000067, ""),
    ],
)
def test_an_entry_is_read_as_people_mean_it(text: str, value: int, note: str) -> None:
    found = number(text, digits_are_hex=True)
    assert found is not None
    assert found.value == value
    assert found.note.startswith(note)
    assert bool(found.note) == bool(note)


@pytest.mark.parametrize(("text", "value"), [("140123456789012", 140123456789012), ("4711", 4711)])
def test_an_address_of_digits_alone_is_read_as_id_shows_it(text: str, value: int) -> None:
    assert number(text, digits_are_hex=False) == (
        value,
        f"{text} was read as decimal, {value:#x}; for hex type 0x{text}",
    )


@pytest.mark.parametrize(
    "text", ["", " ", "a", "face", "c0ffee", "a1", "-5", "+5", "0x", "0xg", "1__0", "_1", "1_", "12 34", "1.5", "1<<3",
             "0o9", "x67", "67h", "٣٤", "²", "0x٣", "all", "self", "[heap]", "1000-2000"]
)  # fmt: skip
def test_what_is_not_just_a_number_is_left_to_others(text: str) -> None:
    assert number(text, digits_are_hex=True) is None
    assert number(text, digits_are_hex=False) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("106923061", 0x106923061), ("800fffffa7598063", 0x800FFFFFA7598063), ("deadbeef", 7), ("a", 5), ("a + 0x10", 21),
     ("1 << 3", 8), ("-5", -5)],
)  # fmt: skip
def test_names_and_expressions_go_before_numbers(text: str, value: int) -> None:
    assert entry(text, {"deadbeef": 7, "a": 5}).value == value


def test_a_name_that_could_be_hex_says_how_to_type_that() -> None:
    with pytest.raises(NameError, match=r"^name 'c0ffee' is not defined; if it is a number in hex, type 0xc0ffee$"):
        entry("c0ffee", {})
    with pytest.raises(NameError, match=r"^name 'nonsense' is not defined$"):
        entry("nonsense", {})
