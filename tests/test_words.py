"""The words of the package, as CONTRIBUTING.md has them: what can be found by its form alone."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "pte_magic"
FILES = sorted(PACKAGE.rglob("*.py"))
QUESTION = r"(?:What(?:ever)?|Who(?:ever|se)?|How|Where|Which|Whether)"
_WHAT = r"(?:What(?:ever)?|Who(?:ever|se)?)"
_OTHER_NO = r"(?!longer\b|more\b|later\b|one\b|other\b)"
_THING = r"(?:run|row|process|page|entry|file|level)"
FORBIDDEN = {
    "a sentence that begins with a relative clause": rf"(?:^|[.;:!] |\n\n){_WHAT} ",
    "is no, for is not a": rf"(?<!\bthere )(?<!\bThere )\b(?:is|are|be|was|were) no {_OTHER_NO}[a-z]",
    "compared is": r"\b(?:[Cc]ompared|[Ss]hown|[Tt]old) (?:is|are)\b",
    "a row a run, for one row per run": rf"\ba (?:row|cell|line|file|column|square) an? {_THING}\b",
    "whoever": r"\b[Ww]hoever\b",
}


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the words of each text and comment; of a text within a line, the pieces between its values."""
    source = file.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            paragraphs = re.split(r"\n\s*\n", node.value.strip())
            yield node.lineno, "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_first_line_of_a_module_says_what_is_in_it(file: Path) -> None:
    said = ast.get_docstring(ast.parse(file.read_text()))
    assert said
    assert not re.match(rf"{QUESTION}\b", said), f"{file}: a noun phrase says what is in the file"
    assert said.splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_words_are_plain(file: Path) -> None:
    found = [
        f"{file}:{line}: {why}: …{text[max(0, hit.start() - 20) : hit.end() + 40]}…"
        for line, text in texts(file)
        for why, pattern in FORBIDDEN.items()
        for hit in re.finditer(pattern, text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("a sentence that begins with a relative clause", "It works. What is missing is left out."),
        ("a sentence that begins with a relative clause", "Whose pages these are"),
        ("is no, for is not a", "'x' is no address"),
        ("compared is", "compared are the addresses it had before"),
        ("a row a run, for one row per run", "a row a process"),
        ("whoever", "for whoever may look"),
    ],
)
def test_each_kind_is_found(why: str, text: str) -> None:
    assert re.search(FORBIDDEN[why], text)


@pytest.mark.parametrize(
    "text", ["there is no page", "it is no longer mapped", "the line says What", "a row has an entry"]
)
def test_what_is_plain_is_left_alone(text: str) -> None:
    assert not any(re.search(pattern, text) for pattern in FORBIDDEN.values())
