"""Python expressions as people type them, for property tests: any of them may be a target."""

from __future__ import annotations

from hypothesis import strategies as st


def f(*values: object, key: object = None) -> object:
    return values or key


NAMES = {"a": 3, "b": [1, 2, 3], "größe": (4, 5), "d": {"--x": 1, "#": 2, "; ": 3}, "r": 7, "s": "text", "f": f}
"""What is defined; some are letters of options, too."""

_gaps = st.sampled_from(["", " ", "  "])
_texts = st.text(st.sampled_from(" ab-#;,'\"\\[({})]:$%=*ö\n"), max_size=9) | st.sampled_from(
    ["--runs", " --runs ", "# c", "a, b", "x;", "'", '"', "{a}", "$a", "-r"]
)
_atoms = (
    st.sampled_from([name for name in NAMES if name not in {"d", "f"}])
    | st.integers(0, 999).map(str)
    | st.integers(0, 999).map(hex)
    | _texts.map(repr)
    | st.sampled_from(['d["--x"]', "d['#']", "d['; ']", "f'{a} {s}'", """f"{d['#']!r}, {a} # b\""""])
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "@", "//", "%", ">>", "|", "==", "!=", "<=", " and ", " or ", " in ",
                                 " not in ", " is ", " is not "])  # fmt: skip
    closed = inner.map(lambda text: f"({text})")
    return st.one_of(
        st.builds(lambda one, left, sign, right, two: f"{one}{left}{sign}{right}{two}", closed, _gaps, operators, _gaps,
                  closed),
        st.builds(lambda one, sign, two: f"{one}{sign}{two}", _atoms, operators.map(lambda sign: f" {sign.strip()} "),
                  _atoms),
        st.builds(lambda sign, one: f"{sign}{one}", st.sampled_from(["-", "~", "not ", "- "]), closed),
        st.builds(lambda one, two, three: f"{one} if {two} else {three}", closed, closed, closed),
        st.builds(lambda one, gap: f"b[{one}:{gap}]", inner, _gaps),
        st.builds(lambda gap: f"b[:,{gap}-1]", _gaps),
        st.builds(lambda one: f"b[::-1][{one}]", inner),
        st.builds(lambda one, two: f"f({one}, *{two}, key={one})", closed, closed),
        st.builds(lambda one, two: f"[{one}, {two}]", inner, inner),
        st.builds(lambda one, two: f"{{{one}, {two}}}", inner, inner),
        st.builds(lambda one, two: f"{{{one}: {two}}}", closed, inner),
        st.builds(lambda one: f"[v for v, w in {one} if v != {one}]", closed),
        st.builds(lambda one: f"lambda x, *y, z={one}: x", closed),
        st.builds(lambda one: f"lambda: {one}", closed),
        st.builds(lambda one: f"s.join({one})", inner),
        closed,
    )  # fmt: skip


expressions = st.recursive(_atoms, _compound, max_leaves=6)
"""All of them compile; those that raise something when they are evaluated are targets as well."""
