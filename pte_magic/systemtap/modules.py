"""Compiles scripts to kernel modules, each once: what was compiled is kept until it has not been used for long."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.errors import SystemTapError
from pte_magic.systemtap import toolchain

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = 64  # modules; a megabyte each, about
_TICK = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Script:
    """A script and everything else that its module depends on, but for the kernel and SystemTap.

    Attributes:
        text: The script.
        name: Of the module; SystemTap's messages call the script by it.
        options: More options for ``stap``.
        arguments: What the script reads as ``$1`` and ``@1``, ….
        include: Directories of tapsets.

    """

    text: str
    name: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    include: tuple[Path, ...] = field(default=(toolchain.TAPSET,))


def directory() -> Path:
    """Return where compiled modules are kept: ``$XDG_CACHE_HOME/pte-magic/systemtap``, by default in ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pte-magic" / "systemtap"


def kept(script: Script, release: str | None = None) -> Path | None:
    """Return the module if it was compiled before, for the kernel `release` or the running one."""
    module = _place(script, release or platform.release()) / f"{script.name}.ko"
    return module if module.exists() else None


def compiled(
    script: Script, release: str | None = None, *, verbose: bool = False, hear: Callable[[str], None] | None = None
) -> Path:
    """Return the module of a script, compiled now unless it was before. What takes longer says so on stderr.

    Args:
        script: What to compile.
        release: For which kernel; the running one if None.
        verbose: Have stap tell what it does.
        hear: Called with each line that stap says, from another thread.

    Raises:
        SystemTapError: It does not compile, or something for compiling is missing; says what to type.

    """
    release = release or platform.release()
    if module := kept(script, release):
        os.utime(module.parent)
        return module
    if why := toolchain.cannot_compile(release):
        raise SystemTapError(why)
    place = _place(script, release)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=place.parent) as work:
        source = Path(work, f"{script.name}.stp")
        source.write_text(script.text, encoding="utf-8")
        _compile(script, source, release, ["-v"] * verbose, hear)
        made = Path(work, "made")
        made.mkdir()
        source.with_suffix(".ko").rename(made / f"{script.name}.ko")
        try:
            made.rename(place)
        except OSError:  # another notebook was quicker
            if not kept(script, release):
                raise
    _forget_the_oldest(place.parent)
    return place / f"{script.name}.ko"


def _place(script: Script, release: str) -> Path:
    """Return the directory of a script's module. Its name changes with everything that the module depends on."""
    key = hashlib.sha256()
    for part in (script.text, script.name, script.options, script.arguments, toolchain.version(), release):
        key.update(repr(part).encode())
    key.update(_build(release))
    for place in script.include:
        for path in sorted(place.rglob("*.stp")) + sorted(place.rglob("*.stpm")):
            key.update(repr(path.relative_to(place)).encode() + path.read_bytes())
    return directory() / key.hexdigest()[:32]


def _build(release: str) -> bytes:
    """Return what tells two builds of one release apart: the symbols' checksums, else which kernel is running."""
    try:
        return Path("/lib/modules", release, "build", "Module.symvers").read_bytes()
    except OSError:
        return platform.version().encode() if release == platform.release() else b""


def _compile(
    script: Script, source: Path, release: str, options: list[str], hear: Callable[[str], None] | None
) -> None:
    command = ["stap", "-p4", "-r", release, "-m", script.name, *options, *script.options]
    if toolchain.signed_only():
        command.append("--sign-module")
    for place in script.include:
        command += ["-I", str(place)]
    command += [source.name, *script.arguments]
    # stap keeps what it learnt about the kernel's headers there, which halves the time of the next compile.
    environment = os.environ | {"SYSTEMTAP_DIR": str(directory() / "stap"), "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        command,
        cwd=source.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # a notebook's interrupt is for Python, which then ends stap and its compilers
    ) as stap:
        said: list[str] = []
        reader = threading.Thread(target=_listen, args=(stap, said, hear), daemon=True)
        reader.start()
        try:
            _wait(stap, f"SystemTap compiles {script.name} for kernel {release}")
        finally:
            end_group(stap)
            reader.join()
    if stap.returncode or not source.with_suffix(".ko").exists():
        raise SystemTapError("".join(said).strip() or f"stap failed with exit status {stap.returncode}")


def _listen(stap: subprocess.Popen[str], said: list[str], hear: Callable[[str], None] | None) -> None:
    for line in stap.stderr or ():
        said.append(line)
        if hear:
            hear(line)


def _wait(stap: subprocess.Popen[str], what: str) -> None:
    began = time.monotonic()
    end = ""
    while stap.poll() is None:
        try:
            stap.wait(_TICK)
        except subprocess.TimeoutExpired:
            end = "\n"
            sys.stderr.write(f"\r{what}, once: {time.monotonic() - began:.0f} s")  # the same line again and again
            sys.stderr.flush()
    sys.stderr.write(end)


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session of its own, with all that it started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, 15)
        process.wait()


def _forget_the_oldest(place: Path) -> None:
    """Keep the modules that were used last."""
    modules = [path for path in place.iterdir() if path.name != "stap" and not path.name.startswith(".")]
    ages = sorted(modules, key=lambda path: path.stat().st_mtime, reverse=True)
    for old in ages[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
