"""What README and the other documents name is there: files, targets of make, commands, options, functions."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

import pte_magic
from pte_magic import workloads
from pte_magic.notebook import extension, pte_cell

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("*/*.md"))]
FOLDERS = ("binder", "docs", "examples", "pte_magic", "stap", "tests")
FILES = [path.relative_to(ROOT) for top in FOLDERS for path in ROOT.joinpath(top).rglob("*")]
FILES += [path.relative_to(ROOT) for path in ROOT.iterdir()]
PATH = re.compile(r"(?<![\w/.<$-])(?:\.\./)*((?:[\w*-]+/)*[\w*.-]*\w\.(?:py|stp|c|ipynb|md|toml|png)\b)")
ELSEWHERE = re.compile(r"(arch|fs|kernel|mm|lab/tree)/|jupyterhub_config\.py")
"""Files of the kernel and of other programs, and addresses of JupyterLab."""

documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code(text: str) -> list[str]:
    """Return what a document has in backticks, and the lines of its blocks of code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [*inline, *(line.strip() for block in blocks for line in block.splitlines())]


def commands(text: str, name: str) -> list[list[str]]:
    """Return the words that follow a command wherever a document types it, without a comment or another command."""
    found = [re.search(rf"(?:^|[/ (])({name})(?=[\s)]|$)(.*)", line.partition("  #")[0]) for line in code(text)]
    return [shlex.split(match[2].partition(" -- ")[0].strip(' )"'), posix=False) for match in found if match]


def anchors(text: str) -> set[str]:
    """Return what a link may have after its ``#``: the headings, as GitHub writes them there."""
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_anchors_are_headings() -> None:
    assert anchors("# A `b`, c!\n```\n# no heading\n```\n### Who may look?\n") == {"a-b-c", "who-may-look"}


@documents
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    for target in [one or other for one, other in targets]:
        if not target.startswith("https://"):
            name, _, anchor = target.partition("#")
            there = path.parent / name if name else path
            assert there.exists(), target
            assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), target


@documents
def test_files_that_are_named_are_there(path: Path) -> None:
    for line in code(path.read_text(encoding="utf-8")):
        for named in PATH.findall(line):
            assert ELSEWHERE.match(named) or any(file.match(named) for file in FILES), named


def test_addresses_of_jupyterlab_open_a_notebook_that_is_there() -> None:
    named = {path: re.findall(r"\blab/tree/([^`\s)]*)", path.read_text(encoding="utf-8")) for path in DOCUMENTS}
    assert named[ROOT / "README.md"]
    for name in [name for names in named.values() for name in names]:
        assert name.endswith(".ipynb"), name
        assert (ROOT / name).exists(), name


@documents
def test_targets_of_make_are_there(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in commands(path.read_text(encoding="utf-8"), "make"):
        assert re.search(rf"^{re.escape(words[0])}:", makefile, re.MULTILINE), words


@functools.cache
def options(command: str) -> set[str]:
    """Return the options of a command of pte-magic, as its help names them."""
    words = [sys.executable, "-m", "pte_magic", command, "--help"]
    return set(re.findall(r"--[\w-]+", subprocess.run(words, capture_output=True, text=True, check=True).stdout))


@documents
def test_commands_take_the_options_that_are_named(path: Path) -> None:
    for words in commands(path.read_text(encoding="utf-8"), "pte-magic"):
        if not words or words[0].startswith("("):
            continue
        assert {word for word in words if word.startswith("--")} <= options(words[0]), words


@documents
def test_options_of_the_magic_are_there(path: Path) -> None:
    there = set(
        re.findall(r"-{1,2}[\w-]+", f"{extension.PteMagics.pte.__doc__}{pte_cell.DiffMagics.difference.__doc__}")
    )
    for line in code(path.read_text(encoding="utf-8")):
        if found := re.match(r"(?:%px )?(?:\w+ = )?%%?pte (.*)", line):
            named = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", found[1]))
            assert named <= there, line


@documents
def test_code_is_python_and_calls_what_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        ast.parse(TransformerManager().transform_cell(block))
    for name in re.findall(r"\bpte_magic\.(\w+)\(", text):
        assert hasattr(pte_magic, name), name
    for names in re.findall(r"from pte_magic\.workloads import ([\w, ]+)", text):
        assert set(names.split(", ")) <= set(vars(workloads)), names


SYSTEM = {"apt", "chown", "chmod", "dnf", "make", "mokutil", "systemctl", "sysctl", "usermod", "staprun"}
"""Programs that are where sudo looks for them."""


@documents
def test_what_sudo_is_to_run_has_its_whole_path(path: Path) -> None:
    for line in code(path.read_text(encoding="utf-8")):
        for word in re.findall(r"\bsudo (\S+)", line):
            assert word in SYSTEM or word.startswith(("/", "$(command")), line


def test_nobody_is_told_to_start_jupyter_as_root() -> None:
    """README says why, and what to do instead; no message, lesson or other document says otherwise."""
    texts = [*DOCUMENTS, *ROOT.glob("examples/*.ipynb"), *ROOT.glob("examples/*.py"), *ROOT.glob("pte_magic/**/*.py")]
    for path in texts:
        found = re.search(
            r"(start|run|open) (Python|Jupyter)\w*( or Jupyter\w*)? as root", path.read_text(encoding="utf-8")
        )
        assert not found, path
