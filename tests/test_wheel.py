"""The distributions: a wheel made from the sdist serves in an empty environment, without any compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
# No program is found: no clang for the build (so the one in ziglang compiles), no compiler for the installation.
ENVIRONMENT = os.environ | {"PATH": "/nonexistent", "PYTHONNOUSERSITE": "1"}
SCRIPT = """
import numpy, os, pte_magic
page = numpy.ones(4096, numpy.uint8)
frame = pte_magic.walk(page)
with open("/proc/self/pagemap", "rb", buffering=0) as file:
    word = int.from_bytes(os.pread(file.fileno(), 8, int(frame.vaddr[0]) // 4096 * 8), "little")
assert frame.pfn.fillna(0)[0] == word & (1 << 55) - 1
assert "<img" in frame.map().html() and pte_magic.BitField(0x67)._esm  # styles and scripts are there
print(pte_magic.__file__, frame.walker[0])
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", directory, cwd=PROJECT)
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, sdist, cwd=directory)
    (made,) = directory.glob("*.whl")
    return made


def test_the_wheel_carries_program_and_scripts_and_no_path_of_the_machine_that_built_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        programs = [archive.read(f"pte_magic/{name}.bpf.o") for name in ("walkers/bpf/walk", "events/faults")]
        scripts = {path for path in archive.namelist() if path.endswith(".stp")}
        pages = [path for path in archive.namelist() if path.endswith("/share/man/man1/pte-magic.1")]
        units = [path for path in archive.namelist() if path.startswith("pte_magic/helper/units/")]
    assert all(program.startswith(b"\x7fELF") for program in programs)
    assert scripts == {f"pte_magic/{path.relative_to(PROJECT)}" for path in (PROJECT / "stap").rglob("*.stp")}
    assert len(pages) == 1
    assert sorted(Path(path).name for path in units) == ["pte-magic.service", "pte-magic.socket"]
    for program in programs:
        assert bytes(PROJECT) not in program
        assert bytes(Path.home()) not in program


def test_the_wheel_installs_in_an_empty_environment_without_a_compiler_and_walks(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    file, walker = run(python, "-c", SCRIPT, cwd=tmp_path).split()
    assert Path(file).is_relative_to(tmp_path)
    assert walker == ("bpf" if os.geteuid() == 0 else "pagemap")
    # `make demo` installs no more than that.
    assert f"walker {walker}" in run(python, PROJECT / "examples" / "demo.py", cwd=tmp_path)
