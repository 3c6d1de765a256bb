"""Several targets in one line: where a comma separates two of them, and where it does not."""

from __future__ import annotations

import pytest

from pte_magic.named import split


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("a", ["a"]),
        ("a, child.pid a", ["a", "child.pid a"]),
        ("a[1, 2:3],b", ["a[1, 2:3]", "b"]),
        ("np.ones((3, 4)), {1: [2, 3]}, 1234 [heap]", ["np.ones((3, 4))", "{1: [2, 3]}", "1234 [heap]"]),
        ('"one, two", d[\'[\'], e["])"]', ['"one, two"', "d['[']", 'e["])"]']),
        ("7f68aba31000-7f68aba41000, [vdso]", ["7f68aba31000-7f68aba41000", "[vdso]"]),
        ("a,", ["a", ""]),
        ("", [""]),
    ],
)
def test_commas_separate_targets_but_not_within_something(line: str, targets: list[str]) -> None:
    assert split(line) == targets
