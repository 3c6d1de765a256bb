"""The tutorials are executed, with the assertions in their cells, as root and as somebody without privileges."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
NOBODY = 65534
SECONDS = 600
LIMIT = 200 << 10

names = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


FAILS = """
from pte_magic.workloads import fork_with, private_mapping
child = fork_with(private_mapping(1))
assert child.read(0) == 1
"""


def start(script: str | Path, *arguments: object, user: int, **variables: object) -> subprocess.Popen[str]:
    """Start a script of examples/, or another one, as a user, if we may."""
    identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []}
    return subprocess.Popen(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {name: str(value) for name, value in variables.items()},
        **(identity if os.geteuid() == 0 else {}),
    )


def processes(mark: str) -> list[str]:
    """Return the command lines of the processes that have a text in their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (directory / "environ").read_text(encoding="utf-8", errors="replace"):
                found.append((directory / "cmdline").read_text(encoding="utf-8", errors="replace"))
        except OSError:
            pass  # it ended, or is somebody else's
    return found


class Course(NamedTuple):
    """All tutorials on their way, executed one after the other by one user."""

    home: Path
    mark: str
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def courses() -> Iterator[dict[int, Course]]:
    """The tutorials for root, and at the same time for an ordinary user."""
    started = {}
    for user in (0, NOBODY) if os.geteuid() == 0 else (os.geteuid(),):
        # The directories of pytest are for nobody else.
        home, mark = Path(tempfile.mkdtemp()), uuid.uuid4().hex
        for directory in (home, home / "tmp", home / "to"):
            directory.mkdir(exist_ok=True)
            os.chown(directory, user, -1)
        process = start(
            "execute.py",
            "--to",
            home / "to",
            *(path.stem for path in NOTEBOOKS),
            user=user,
            TMPDIR=home / "tmp",
            MARK=mark,
        )
        started[user] = Course(home, mark, process)
    yield started
    for course in started.values():
        course.process.kill()
        course.process.communicate()
        shutil.rmtree(course.home)


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "nobody"])
def test_every_tutorial_holds_and_leaves_nothing(courses: dict[int, Course], user: int) -> None:
    if os.geteuid() != 0 and user == 0:
        pytest.skip("needs root: raw entries")
    home, mark, process = courses.get(user) or courses[os.geteuid()]
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, out + err
    made = sorted((home / "to").glob("*.ipynb"))
    assert [path.name for path in made] == [path.name for path in NOTEBOOKS]
    assert list((home / "tmp").iterdir()) == []
    assert processes(mark) == []
    for path in made:
        is_tidy(path)
        used = walkers_of_cells(path)
        if user == 0:
            assert used & {"bpf", "stap"}, path.stem
        elif os.geteuid() == 0:
            assert used == {"pagemap"}, path.stem


def walkers_of_cells(path: Path) -> set[str]:
    """Return the walkers that the results of cells say were used; what was recorded is no result, but displayed."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    texts = [
        output.get("text") or output.data["text/plain"] for output in outputs if output.output_type != "display_data"
    ]
    return {name for text in texts for name in re.findall(r"(?:\bwalker |^walkers?: )(\w+)", text, re.MULTILINE)}


def test_a_tutorial_that_fails_leaves_nothing_either(tmp_path: Path) -> None:
    for name in ("execute.py", "recorded.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FAILS)])
    nbformat.write(notebook, tmp_path / "fails.ipynb")
    (tmp_path / "tmp").mkdir()
    mark = uuid.uuid4().hex
    process = start(tmp_path / "execute.py", "fails", user=os.geteuid(), TMPDIR=tmp_path / "tmp", MARK=mark)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "AssertionError" in err
    assert nbformat.read(tmp_path / "fails.ipynb", as_version=4) == notebook
    assert list((tmp_path / "tmp").iterdir()) == []
    assert processes(mark) == []


@names
def test_what_is_committed_was_executed_in_order_without_errors(path: Path) -> None:
    is_tidy(path)
    assert path.stat().st_size < LIMIT
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert any(cell.outputs for cell in notebook.cells if cell.cell_type == "code")


def is_tidy(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "widgets" not in notebook.metadata
    for cell in code:
        assert "execution" not in cell.metadata  # no times
        for output in cell.outputs:
            assert output.output_type != "error"
            assert not any("widget" in kind for kind in output.get("data", {}))
            assert "text/plain" in output.get("data", {"text/plain": ""})


SOURCE = re.compile(r"`(?:arch|fs|kernel|mm)/[\w./-]+\.[ch]`|\b\w+\([2-8]\)|Intel SDM|docs\.kernel\.org")
"""A file of the kernel, a man page, a manual."""


@names
def test_a_tutorial_has_all_parts_of_a_lesson(path: Path) -> None:
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert cells[0].startswith("# ")
    assert "**Question.**" in cells[0]
    text = "\n\n".join(cells)
    exercise = text.index("**Exercise.**")
    for part in (r"\*\*Predict(ion\.|:)\*\*|\*\*Prediction:\*\*", r"\*\*What the bits say\.\*\*", r"\*\*Why\b"):
        assert re.search(part, text[:exercise]), part
    reasons = [SOURCE.search(paragraph) for paragraph in re.findall(r"\*\*Why\b.*?(?=\n\n|\Z)", text, re.DOTALL)]
    assert all(reasons), reasons
    hidden = re.search(r"<details><summary>Solution</summary>\n\n(.+?)\n\n</details>", text[exercise:], re.DOTALL)
    assert hidden
    for code in re.findall(r"```python\n(.*?)```", hidden[1], re.DOTALL):
        ast.parse(TransformerManager().transform_cell(code))


def test_the_table_of_contents_names_every_tutorial_in_order() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    at = [text.index(f"({path.name})") for path in NOTEBOOKS]
    assert at == sorted(at)


def demo(user: int) -> subprocess.CompletedProcess[str]:
    process = start("demo.py", user=user)
    out, err = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: raw entries")
def test_the_demo_as_root_prints_raw_entries_of_its_array() -> None:
    done = demo(0)
    assert done.returncode == 0, done.stderr
    assert "walker bpf" in done.stdout
    rows = re.findall(
        r"^0 +0x[0-9a-f]{12} +4 KiB +pte +(0x[0-9a-f]{16}) +present +(0x[0-9a-f]+) ", done.stdout, re.MULTILINE
    )
    told = re.search(r"^pagemap says  \['(0x[0-9a-f]+)', ", done.stdout, re.MULTILINE)
    assert rows
    assert told
    entry, frame = int(rows[0][0], 16), int(rows[0][1], 16)
    assert entry >> 63  # NX
    assert entry >> 12 & (1 << 40) - 1 == frame == int(told[1], 16)
    assert done.stderr == ""


def test_the_demo_without_privileges_serves_and_says_what_it_could_not_see() -> None:
    done = demo(NOBODY if os.geteuid() == 0 else os.geteuid())
    assert done.returncode == 0, done.stderr
    assert "walker pagemap" in done.stdout
    shown, recorded = re.subn(r"^Recorded on Linux .*?(?=^>>> )", "", done.stdout, flags=re.MULTILINE | re.DOTALL)
    assert recorded
    assert "walker bpf" not in shown
    assert "sudo make demo" in done.stderr
