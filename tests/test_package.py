"""The package as a whole: which folder imports from which, names, version, and what an import pulls in."""

from __future__ import annotations

import ast
import importlib
import inspect
import operator
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import python

import pte_magic

ROOT = Path(pte_magic.__file__).parent
BASIS = {"errors", "text"}
SYSTEM = {"linux", *BASIS}
# What each folder or file of the package may import from, besides itself: CONTRIBUTING.md has the same table.
MAY_IMPORT = {
    "errors": set(),
    "text": set(),
    "linux": BASIS,
    "formats": SYSTEM,
    "targets": SYSTEM,
    "systemtap": SYSTEM,
    "workloads": SYSTEM,
    "walkers": {"systemtap", *SYSTEM},
    "events": {"walkers", "formats", *SYSTEM},
    "dataframes": {"formats", *SYSTEM},
    "views": {"dataframes", "formats", *SYSTEM},
    "helper": {"walkers", "systemtap", "formats", *SYSTEM},
    "api": {"views", "dataframes", "events", "walkers", "targets", "formats", *SYSTEM},
    "notebook": {"api", "dataframes", "events", "walkers", "targets", "systemtap", "formats", *SYSTEM},
    "cli": {"api", "helper", "events", "walkers", "targets", *SYSTEM},
    "__main__": {"cli"},
    "__init__": {"api", "notebook", "views", "walkers", *SYSTEM},
}
LONGEST = 300  # lines of a file; more are a sign of two ideas
FILES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the name of a module as `import` has it."""
    return ".".join(("pte_magic", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def room(name: str) -> str:
    """Return in which folder of the package, or file at its top, a module is."""
    return name.split(".")[1] if "." in name else "__init__"


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a module imports, also only for types or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "pte_magic"}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            if str(node.module).split(".")[0] == "pte_magic":
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                found |= {name if name in MODULES else str(node.module) for name in names}
    return found


IMPORTED = {name: imported(path) for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_each_folder_imports_only_from_those_below_it(name: str) -> None:
    assert {other for other in IMPORTED[name] if room(other) not in {room(name), *MAY_IMPORT[room(name)]}} == set()


def test_what_may_be_imported_is_below_and_is_imported() -> None:
    order = list(MAY_IMPORT)
    for name, below in MAY_IMPORT.items():
        assert below <= set(order[: order.index(name)]), name
    used = {name: {room(other) for at in MODULES if room(at) == name for other in IMPORTED[at]} for name in MAY_IMPORT}
    unused = {name: below - used[name] for name, below in MAY_IMPORT.items()}
    assert {name: those - SYSTEM for name, those in unused.items() if those - SYSTEM} == {}


def test_contributing_has_the_same_table() -> None:
    text = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/?` \|[^|]*\|(.*)\|$", text, re.MULTILINE)
    shown = [(name, set(re.findall(r"`(\w+)`", below))) for name, below in rows]
    assert shown == [(name, below - SYSTEM) for name, below in MAY_IMPORT.items()]


def test_no_file_imports_itself_by_way_of_others() -> None:
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in IMPORTED[name]:
                follow(other, (*way, name))
            done.add(name)

    for name in MODULES:
        follow(name, ())


def test_no_file_has_more_than_300_lines() -> None:
    written = [path for path in ROOT.rglob("*") if path.suffix in {".py", ".c", ".h", ".js", ".css", ".stp"}]
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in written}
    assert {name: lines for name, lines in long.items() if lines > LONGEST} == {}


def test_version_is_the_distribution_s() -> None:
    assert pte_magic.__version__ == version("pte-magic")


def test_all_names_are_there_and_documented() -> None:
    assert len(set(pte_magic.__all__)) == len(pte_magic.__all__)
    assert dir(pte_magic) == sorted(pte_magic.__all__)
    code = "from pte_magic import *; print(sorted(name for name in globals() if not name.startswith('__')))"
    assert python(code) == str(sorted(pte_magic.__all__))
    for name in pte_magic.__all__:
        public = getattr(pte_magic, name)
        assert inspect.getdoc(public), name
        if inspect.isclass(public):
            assert (public.__module__, public.__qualname__) == ("pte_magic", name)


def documented() -> list[tuple[str, Any, Any]]:
    """Return each public name, and those of its public members, with the object and the class that has it."""
    found = []
    for name in pte_magic.__all__:
        public = getattr(pte_magic, name)
        found.append((name, public, public))
        for base in inspect.getmro(public) if inspect.isclass(public) else ():
            if base.__module__.startswith("pte_magic"):
                members = [key for key in vars(base) if not key.startswith("_")]
                found += [(f"{name}.{key}", vars(base)[key], public) for key in members]
    return found


def exists(path: str, owner: Any, parameters: set[str]) -> bool:
    """Tell whether a user has what a docstring calls by this name."""
    if path.startswith("pandas.") or path in parameters or hasattr(owner, path):
        return True
    found: Any = pte_magic
    for name in path.removeprefix("pte_magic.").split("."):
        found = getattr(found, name, None)
    return found is not None


def test_public_docstrings_name_what_users_have() -> None:
    wrong = []
    for name, thing, owner in documented():
        text = inspect.getdoc(thing) or ""
        parameters = set(inspect.signature(thing).parameters) if inspect.isfunction(thing) else set()
        names = re.findall(r"(?<!`)`([\w.]+)`(?!`)", text)
        wrong += [f"{name}: `{path}`" for path in names if not exists(path, owner, parameters)]
    assert wrong == []


def test_workloads_are_imported_when_they_are_used() -> None:
    code = """
import sys, pte_magic
print("pte_magic.workloads" in sys.modules, "workloads" in dir(pte_magic), "workloads" in vars(pte_magic))
print(pte_magic.workloads.private_mapping(2).shape[0], pte_magic.workloads is sys.modules["pte_magic.workloads"])
"""
    assert python(code).splitlines() == ["False False False", "2 True"]


def test_each_name_has_a_module_and_is_the_one_in_it() -> None:
    assert pte_magic._MODULES.keys() == set(pte_magic.__all__)
    for name, module in pte_magic._MODULES.items():
        assert getattr(pte_magic, name) is getattr(importlib.import_module(module), name)


def test_importing_takes_no_pandas_and_asking_for_a_name_does() -> None:
    asked = "'pandas' in sys.modules"
    assert python(f"import sys, pte_magic; before = {asked}; pte_magic.walk; print(before, {asked})") == "False True"


def test_going_through_all_modules_imports_no_pandas() -> None:
    code = "import inspect, sys, pte_magic; inspect.getmodule(compile('', '/no/file', 'exec'))"
    assert python(f"{code}; print('pandas' in sys.modules)") == "False"


def test_a_name_that_is_not_there_is_said_so() -> None:
    with pytest.raises(AttributeError, match="module 'pte_magic' has no attribute 'wlak'"):
        operator.attrgetter("wlak")(pte_magic)


def test_all_errors_are_public() -> None:
    errors = importlib.import_module("pte_magic.errors")
    found = {name for name, value in vars(errors).items() if inspect.isclass(value) and value.__name__ == name}
    assert found == {name for name in pte_magic.__all__ if name.endswith("Error")}


def test_every_module_is_documented_and_imports() -> None:
    for name in MODULES:
        assert importlib.import_module(name).__doc__, name


@pytest.mark.parametrize("other", ["IPython", "ipywidgets", "anywidget", "pyarrow", "torch", "tqdm"])
def test_importing_and_walking_needs_no(other: str) -> None:
    code = f"import sys, pte_magic; pte_magic.walk(b'x' * 99); print({other!r} in sys.modules)"
    # pandas itself imports pyarrow where that is installed
    expected = f"import sys, pandas; print({other!r} in sys.modules)"
    assert python(code) == python(expected)


def test_package_is_typed() -> None:
    assert (ROOT / "py.typed").exists()


@pytest.mark.parametrize("name", ["walkers/bpf/walk.bpf.o", "events/faults.bpf.o"])
def test_compiled_programs_are_part_of_the_package(name: str) -> None:
    assert (ROOT / name).read_bytes()[:4] == b"\x7fELF"


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
