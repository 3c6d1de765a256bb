"""What mybinder.org makes of this repository: a clean root where a user without any right executes the tutorials.

It is built in the order of repo2docker's Dockerfile (https://github.com/jupyterhub/repo2docker, buildpacks/base.py):
root installs packages and adds a user; the user makes an environment with JupyterLab; the repository is copied into the
user's home directory, and is the user's; the user runs binder/postBuild there. Only the interpreter is another one:
Debian's, not the one that binder/runtime.txt names.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import nbformat
import pytest
from chroot import WORK, isolated
from recipe import APT
from rootfs import locked, remove
from steps import step

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[1]
STEMS = sorted(path.stem for path in (PROJECT / "examples").glob("*.ipynb"))
SUITE, HOME, VENV = "bookworm", "/home/jovyan", "/srv/venv"
NO_RIGHTS = "setpriv --reuid=1000 --regid=1000 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
BUILDS = 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])'
"""Kept in the root, so that what only has to be installed again needs no network."""
FILTER = ("python", "tests/docker_filter.py")
COMPLETE = {"15_why_workers_grow"}  # it shows what every user sees
ENVIRONMENT = f"HOME={HOME} PATH={VENV}/bin:/usr/bin:/bin LANG=C.UTF-8"

missing = [name for name in ("git", "mmdebstrap", "setpriv", "unshare") if not shutil.which(name)]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root can make and enter a Debian of its own"),
    pytest.mark.skipif(bool(missing), reason=f"needs {' and '.join(missing)}: make test installs mmdebstrap on Debian"),
]


class Container(NamedTuple):
    """A root of its own, with a log of what ran in it."""

    root: Path
    log: Path

    def as_root(self, command: str) -> str:
        """Run a line of shell as root; return what it printed."""
        with self.log.open("a", encoding="utf-8") as log:
            try:
                return step(self.root, log, command)
            except subprocess.CalledProcessError as error:
                message = f"{command}\n{error.stdout}"
        pytest.fail(message, pytrace=False)

    def as_user(self, command: str, *before: str) -> str:
        """Run a line of shell as the user, who has no capability and can get none, in the repository.

        The words `before` it are another program that starts it.
        """
        words = shlex.join([*before, "bash", "-c", command])
        shell = f"cd {HOME} && exec {NO_RIGHTS} env --unset=XDG_CACHE_HOME {ENVIRONMENT} {words}"
        return self.as_root(f"mount -t sysfs -o ro sysfs /sys && {shell}")

    def build_repository(self, environment: str = "") -> None:
        """Do what repo2docker does with a repository: copy what is committed, give it to the user, run postBuild."""
        clone = self.root.parent / "work/clone"
        if clone.exists():
            shutil.rmtree(clone)
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        self.as_root(f"cp -rT {WORK}/clone {HOME} && chown -R jovyan: {HOME}")
        self.as_user(f"chmod +x binder/postBuild && {environment} ./binder/postBuild")


def build(home: Path) -> None:
    """Make ``home/root``: all that is the same until another recipe, and what postBuild installs."""
    home.mkdir()
    container = Container(home / "root", home / "log")
    options = [f'--aptopt={name} "{value}"' for name, value in APT.items()]
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        *options,
        "--include=mount,python3-venv",
        SUITE,
        container.root,
    ]
    with container.log.open("w", encoding="utf-8") as log:
        environment = {**os.environ, "TMPDIR": str(home)}
        subprocess.run(isolated([str(word) for word in command]), check=True, stdout=log, stderr=log, env=environment)
    container.as_root(f"useradd --create-home --uid 1000 jovyan && mkdir {VENV} && chown jovyan: {VENV}")
    container.as_user(f"python3 -m venv {VENV} && pip install --quiet --no-cache-dir jupyterlab")
    container.build_repository()
    container.as_user("pip install --quiet --no-cache-dir $(python -c '" + BUILDS + "')")
    container.as_root(f"find {HOME} -mindepth 1 -delete")


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    """A container as mybinder starts it. What takes minutes to install is kept for the next run, by its recipe."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pte-magic" / "binder"
    base.mkdir(parents=True, exist_ok=True)
    recipe = [*sorted((PROJECT / "binder").iterdir()), PROJECT / "pyproject.toml", Path(__file__)]
    home = base / hashlib.sha256(b"\0".join(path.read_bytes() for path in recipe)).hexdigest()[:16]
    run = base / "run"
    with locked(base / "lock"):
        for old in base.iterdir():
            if old.is_dir() and old != home:
                remove(old)  # of another recipe, or of a killed run: whoever uses it has the lock
        try:
            if not home.exists():
                build(run)
                run.rename(home)
            run.mkdir()
            subprocess.run(["cp", "-a", "--reflink=auto", home / "root", run / "root"], check=True)
            made = Container(run / "root", run / "log")
            made.build_repository("PIP_NO_BUILD_ISOLATION=0")  # which, in pip's words, means that there is none
            yield made
        finally:
            remove(run)
        assert str(base) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        assert not [link for link in Path("/proc").glob("[0-9]*/root") if base in linked(link).parents]


def linked(link: Path) -> Path:
    try:
        return link.readlink()
    except OSError:
        return Path()  # it ended


def test_the_user_has_no_right_and_the_pagemap_walker_serves(container: Container) -> None:
    status = container.as_user("id --user; cat /proc/self/status")
    assert status.startswith("1000\n")
    capabilities = re.findall(r"Cap(?:Inh|Prm|Eff|Bnd|Amb):\t(\w+)", status)
    assert [int(mask, 16) for mask in capabilities] == [0] * 5
    code = "import pte_magic as p; d = p.doctor(); print(p.__file__, *d.walker[d.works], *p.walk(b'x' * 9999).state)"
    file, *told = container.as_user(f"cd examples && python -c {shlex.quote(code)}").split()
    assert file.startswith(VENV)  # installed, not found beside it
    assert told[0] == "pagemap"
    assert set(told[1:]) == {"present"}


def test_the_tutorials_hold_and_show_recorded_frames(container: Container) -> None:
    container.as_user(f"python examples/execute.py --to executed {' '.join(STEMS)}", *FILTER)
    for stem in STEMS:
        notebook = nbformat.read(container.root / f"{HOME[1:]}/executed/{stem}.ipynb", as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        printed = "".join(output.get("text", "") for cell in code for output in cell.outputs)
        steps = re.findall(r"^recorded\(", "\n".join(cell.source for cell in code), re.MULTILINE)
        assert bool(steps) == (stem not in COMPLETE), stem
        assert len(re.findall("^Recorded on Linux .* not from this machine:$", printed, re.MULTILINE)) == len(steps), (
            stem
        )
        outputs = [output for cell in code if "recorded(" in cell.source for output in cell.outputs]
        frames = [output.data["text/plain"] for output in outputs if output.output_type == "display_data"]
        assert len(frames) == len(steps), stem
        lacks = {"10_systemtap": "UsageError: ", "11_numa_and_migration": "move_pages(2) is not permitted here"}
        assert lacks.get(stem, "") in printed
        assert all(
            re.search(r"walker\s+(bpf|stap)|^ +(page +)?(address +)?code", text, re.MULTILINE) for text in frames
        )


def test_jupyterlab_has_what_shows_the_widgets(container: Container) -> None:
    extensions = container.as_user("jupyter labextension list")
    for name in ("@jupyter-widgets/jupyterlab-manager", "anywidget"):
        assert re.search(f"{name} .*enabled.*OK", extensions)
