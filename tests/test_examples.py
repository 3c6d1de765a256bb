"""The tutorials are executed, with the assertions in their cells, by all who see different things: see `MODES`."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import execute
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from serving import serving

from pte_magic.walkers import helper_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
RUNNER = Path(__file__).with_name("lesson_runner.py")
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
NOBODY = 65534
SECONDS = 600
LIMIT = 200 << 10
LOOK = 4 << 20  # bytes that `%pte --vars` itself may need for a moment

names = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


FAILS = """
from pte_magic.workloads import fork_with, private_mapping
child = fork_with(private_mapping(1))
assert child.read(0) == 1
"""


def start(
    script: str | Path, *arguments: object, user: int, before: tuple[str, ...] = (), **variables: object
) -> subprocess.Popen[str]:
    """Start a script of examples/, or another one, as a user, if we may; after the words of another command."""
    identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []}
    return subprocess.Popen(
        [*before, sys.executable, EXAMPLES / script, *map(str, arguments)],
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
    """All tutorials on their way, executed one after the other by one user.

    Attributes:
        home: Directory of that user: ``tmp`` for all that is temporary, ``to`` for what the tutorials printed.
        mark: A text that is in the environment of all processes of it, and of no other.
        process: What executes them.

    """

    home: Path
    mark: str
    process: subprocess.Popen[str]


class Mode(NamedTuple):
    """Who executes the tutorials, and what the course shows then.

    Attributes:
        walkers: Those that may be used.
        raw: Raw entries are shown.
        frames: Page frames are shown.
        both: And by /proc/PID/pagemap, too.
        user: Who.
        served: Options of a helper that this user may connect to; None for none.
        before: Words before the command.

    """

    walkers: frozenset[str]
    raw: bool
    frames: bool
    both: bool = False
    user: int = NOBODY
    served: tuple[str, ...] | None = None
    before: tuple[str, ...] = ()


_FOR_NOBODY = ("--group", str(NOBODY), "--max-clients-per-user", "64")
_NO_BTF = ("unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /sys/kernel/btf\nexec "$@"', "sh")
MODES = {
    "root": Mode(frozenset({"bpf", "stap"}), raw=True, frames=True, both=True, user=0),
    "nobody": Mode(frozenset({"pagemap"}), raw=False, frames=False),
    "helper": Mode(frozenset({"helper", "pagemap"}), raw=True, frames=False, served=_FOR_NOBODY),
    "helper-frames": Mode(
        frozenset({"helper", "pagemap"}), raw=True, frames=True, served=(*_FOR_NOBODY, "--frames", str(NOBODY))
    ),
    # It may set what khugepaged does for a moment, as root may, so that one must have ended: see `Courses`.
    "root-without-ebpf": Mode(frozenset({"pagemap"}), raw=False, frames=True, user=0, before=_NO_BTF),
}
"""What a cell does depends on both facts, raw entries and page frames, and on who may do what else: root alone reads
/proc/kpagecount, for example. So each combination that there is executes all tutorials."""


def in_modes(*names: str) -> pytest.MarkDecorator:
    """Have a test asked of the tutorials in each of these modes."""
    root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: raw entries, helpers, other users")
    return pytest.mark.parametrize(
        "mode", [pytest.param(name, marks=[root] if name != "nobody" else []) for name in names]
    )


modes = in_modes(*MODES)


class Courses:
    """The tutorials in each mode; while a test waits for one, the next mode has begun: two processors are enough.

    As root they are executed by Jupyter, as by ``make examples``; as an ordinary user Jupyter does that in the tests
    of what mybinder.org builds. The other modes differ in nothing that Jupyter has to do with, and take less.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._started: dict[str, Course] = {}

    def get(self, name: str) -> Course:
        at = list(MODES).index(name)
        for mode in list(MODES)[at : at + 2]:
            if mode not in self._started and (os.geteuid() == 0 or mode == "nobody"):
                self._started[mode] = self._start(mode)
        return self._started[name]

    def _start(self, name: str) -> Course:
        mode = MODES[name]
        # The directories of pytest are for nobody else.
        home, mark = Path(tempfile.mkdtemp()), uuid.uuid4().hex
        self._stack.callback(shutil.rmtree, home)
        for directory in (home, home / "tmp", home / "to"):
            directory.mkdir(exist_ok=True)
            os.chown(directory, mode.user if os.geteuid() == 0 else -1, -1)
        variables: dict[str, Any] = {"TMPDIR": home / "tmp", "MARK": mark}
        if mode.served is not None:
            variables[helper_protocol.VARIABLE] = self._stack.enter_context(serving(*mode.served)).path
        stems = [path.stem for path in NOTEBOOKS]
        command = ["execute.py", "--to", home / "to"] if name == "root" else [RUNNER, home / "to"]
        process = start(*command, *stems, user=mode.user, before=mode.before, **variables)
        self._stack.callback(process.communicate)
        self._stack.callback(process.kill)
        return Course(home, mark, process)


@pytest.fixture(scope="module")
def courses() -> Iterator[Courses]:
    with ExitStack() as stack:
        yield Courses(stack)


@pytest.fixture
def printed(courses: Courses, mode: str) -> dict[str, str]:
    """Return what the cells of each tutorial printed and returned in a mode, by its number; not what was displayed."""
    home, _, process = courses.get(mode)
    out, err = process.communicate(timeout=SECONDS) if process.returncode is None else ("", "")
    assert process.returncode == 0, out + err
    if mode == "root":
        return {path.stem[:2]: shown(path) for path in (home / "to").glob("*.ipynb")}
    return {path.stem[:2]: "\n".join(json.loads(path.read_text())["printed"]) for path in (home / "to").iterdir()}


@modes
def test_every_tutorial_holds_and_leaves_nothing(courses: Courses, printed: dict[str, str], mode: str) -> None:
    home, mark, _ = courses.get(mode)
    assert sorted(printed) == [path.stem[:2] for path in NOTEBOOKS]
    assert list((home / "tmp").iterdir()) == []
    assert processes(mark) == []
    for number, text in printed.items():
        used = walkers_of(text)
        assert used <= MODES[mode].walkers, number
        # pagemap is the other opinion in some lessons, so it need not be the one that the lesson is about
        assert used & MODES[mode].walkers - {"pagemap"} or MODES[mode].walkers == {"pagemap"} == used, number


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: make examples as root")
def test_what_make_examples_writes_is_tidy(courses: Courses) -> None:
    for path in (courses.get("root").home / "to").glob("*.ipynb"):
        is_tidy(path)


FRAMES, RAW, ALL = "page frames", "raw entries", "whole entries"
SENTENCES = {
    r"^do they agree\? (True|False)$": ("01", "both"),
    r"^four pages that were read, one frame: 0x": ("02", FRAMES),
    r"^our frames are those from before the fork: ": ("03", FRAMES),
    r"^the frame is the same one: ": ("03", FRAMES),
    r"^of our entries, not one bit has changed: ": ("03", ALL),
    r"^of our entries, not one bit (that you see )?has changed: ": ("03", RAW),
    r"^\d+ of \d+ small entries lead to the frame that was there before, from 0x": ("04", FRAMES),
    r"^the same four frames at two places: ": ("05", FRAMES),
    r"^at first, the page cache: ": ("05", FRAMES),
    r"^the same frames as before: ": ("07", FRAMES),
    r"^rw: \[": ("07", RAW),
    r"^accessed: \d+ +dirty: \d+": ("08", RAW),
    r"^\d+ of \d+ pages of the heap were used$": ("09", RAW),
    r"; \d+ frames are the same$": ("09", FRAMES),
    r"^blocks of memory say: ": ("11", FRAMES),
    r"pages are present, say both, and have the same frames$": ("12", "both"),
    r"^found: +\d+$": ("12", RAW),
    r"^\d+ frames are mapped by both$": ("14", FRAMES),
    r"^copied by the workers: ": ("15", RAW),
}
"""What lessons say of what they see, and what has to be seen for that."""


@modes
def test_nothing_is_said_of_what_is_not_shown(printed: dict[str, str], mode: str) -> None:
    raw, frames, both = MODES[mode][1:4]
    has = {RAW: raw, FRAMES: frames, ALL: raw and frames, "both": both}
    for sentence, (number, needs) in SENTENCES.items():
        said = bool(re.search(sentence, printed[number], re.MULTILINE))
        assert said == has[needs], f"{number}: {sentence}\n{printed[number]}"
    for number, text in printed.items():
        lacks = [what for what in (RAW, FRAMES) if not has[what]]
        told = re.search(r"^walker: \w+(.*)", text, re.MULTILINE)
        assert told or number in {"01", "10"}, number  # these two ask the doctor
        assert not told or [what for what in (RAW, FRAMES) if f"no {what}" in told[1]] == lacks, number


@in_modes(*(name for name in MODES if name != "root"))  # who sees everything; Jupyter does not watch comparisons
def test_nothing_is_compared_that_is_not_known(courses: Courses, printed: dict[str, str], mode: str) -> None:
    """Nothing equals nothing: an assertion or a sentence of it would hold whatever the kernel did."""
    compared = {
        number: found
        for number in printed
        for path in (courses.get(mode).home / "to").glob(f"{number}_*.json")
        if (found := json.loads(path.read_text())["compared"])
    }
    assert compared == {}


@in_modes(*(name for name in MODES if name != "root"))  # as above: in these, cells run in a process of their own
def test_vars_add_up_to_the_kernel_s_resident_size(courses: Courses, printed: dict[str, str], mode: str) -> None:
    """Whatever a tutorial made: within what changed between two readings, and what the look itself needs meanwhile."""
    for path in (courses.get(mode).home / "to").iterdir():
        before, total, after = json.loads(path.read_text())["resident"]
        assert min(before, after) - LOOK <= total <= max(before, after) + LOOK, f"{path.stem}: {before} {total} {after}"
    assert len(printed) == len(NOTEBOOKS)


def shown(path: Path) -> str:
    """Return the results of cells; what was recorded is no result, but displayed."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    return "\n".join(
        output.get("text") or output.data["text/plain"] for output in outputs if output.output_type != "display_data"
    )


def walkers_of(text: str) -> set[str]:
    """Return the walkers that the results of cells say were used."""
    return set(re.findall(r"(?:\bwalker |^walkers?: )(\w+)", text, re.MULTILINE))


def test_a_tutorial_that_fails_leaves_nothing_either(tmp_path: Path) -> None:
    for name in ("execute.py", *execute.IMPORTED):
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
    rows = re.findall(r"^0 +0x[0-9a-f]{12} +(0x[0-9a-f]{16}) +present +- +(0x[0-9a-f]+) ", done.stdout, re.MULTILINE)
    assert rows
    entry, frame = int(rows[0][0], 16), int(rows[0][1], 16)
    assert entry >> 63  # NX
    assert entry >> 12 & (1 << 40) - 1 == frame
    is_one_screen(done)


def test_the_demo_without_privileges_serves_and_says_what_it_could_not_see() -> None:
    done = demo(NOBODY if os.geteuid() == 0 else os.geteuid())
    assert done.returncode == 0, done.stderr
    assert "walker pagemap" in done.stdout
    said = " ".join(done.stdout.split())
    assert "You see which pages are present, but no raw entries or page frames" in said
    assert "`%pte --doctor` tells what to type to see more" in said
    is_one_screen(done)


def is_one_screen(done: subprocess.CompletedProcess[str]) -> None:
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert re.search(
        "^0 .* present .*\n( .*\n)?1 .* present .*\n( .*\n)?2 .* none ", done.stdout, re.MULTILINE
    )  # as it says below
    assert done.stderr == ""
