"""The package as a whole: names, version, what an import pulls in, and that data goes one way."""

from __future__ import annotations

import ast
import importlib
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import python

import pte_magic

ROOT = Path(pte_magic.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT)
# The way of the data (DESIGN.md), left to right; no module imports from its right.
STAGES = [
    {
        "kernel_text",
        "escapes",
        "arguments",
        "descriptors",
        "target",
        "memory",
        "memory_of_arrow",
        "memory_of_pandas",
        "memory_of_torch",
        "blocks",
        "buffers",
        "holders",
        "itself",
        "strings",
        "dlpack",
        "space",
        "geometry",
        "hardware",
        "physical",
        "errors",
        "expressions",
        "typed_numbers",
        "typed_words",
        "suggestions",
        "interrupts",
        "newer_pandas",
        "page_sizes",
        "system_calls",
        "options",
        "units",
    },
    {"systemtap", "workloads"},
    {"walkers"},
    {"formats", "ranges"},
    {
        "columns",
        "frame",
        "page_frames",
        "display",
        "overview",
        "own_frames",
        "restored",
        "row_kernels",
        "runs",
        "difference",
        "differences",
        "comparison",
        "views",
    },  # a frame is asked for its views
    {"core", "doctor", "helper", "sharing"},
    {"progress", "visiting"},
    {"owners"},
    {"processes", "streaming"},
    {"snapshots"},
    {"named"},
    {"around"},
    {"watching"},
    {"command_line", "combinations"},
    {"cell", "stap_magic", "completion"},
    {"diff_magic"},
    {"magics", "__main__"},
]
STAGE_OF = {name: stage for stage, names in enumerate(STAGES) for name in names}


def imported(path: Path) -> set[str]:
    """Return the parts of the package that a module imports, also only for types or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("pte_magic.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_from_its_right(path: Path) -> None:
    stage = STAGE_OF[path.relative_to(ROOT).parts[0].removesuffix(".py")]
    assert {name for name in imported(path) if STAGE_OF[name] > stage} == set()


def test_version_is_the_distribution_s() -> None:
    assert pte_magic.__version__ == version("pte-magic")


def test_all_names_are_there_and_documented() -> None:
    assert len(set(pte_magic.__all__)) == len(pte_magic.__all__)
    code = "from pte_magic import *; print(sorted(name for name in globals() if not name.startswith('__')))"
    public = [name for name in pte_magic.__all__ if not name.startswith("__")]
    assert python(code) == str(sorted(public))
    for name in pte_magic.__all__:
        assert inspect.getdoc(getattr(pte_magic, name)), name


def test_every_module_is_documented_and_imports() -> None:
    for path in MODULES:
        name = ".".join(("pte_magic", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        assert importlib.import_module(name).__doc__, name


@pytest.mark.parametrize("other", ["IPython", "ipywidgets", "anywidget", "pyarrow", "torch", "tqdm"])
def test_importing_and_walking_needs_no(other: str) -> None:
    code = f"import sys, pte_magic; pte_magic.walk(b'x' * 99); print({other!r} in sys.modules)"
    # pandas itself imports pyarrow where that is installed
    expected = f"import sys, pandas; print({other!r} in sys.modules)"
    assert python(code) == python(expected)


def test_package_is_typed() -> None:
    assert (ROOT / "py.typed").exists()


def test_compiled_walker_is_part_of_the_package() -> None:
    assert (ROOT / "walkers" / "walk.bpf.o").read_bytes()[:4] == b"\x7fELF"


def test_extension_is_loaded_by_the_name_of_the_package() -> None:
    code = """
import sys, pte_magic
assert "IPython" not in sys.modules
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
found = [shell.find_line_magic("pte") is not None, shell.extension_manager.load_extension("pte_magic"),
         shell.find_line_magic("pte") is not None, shell.extension_manager.load_extension("pte_magic"),
         shell.extension_manager.unload_extension("pte_magic"), shell.find_line_magic("pte") is not None]
print(found)
"""
    assert python(code) == "[False, None, True, 'already loaded', None, False]"
