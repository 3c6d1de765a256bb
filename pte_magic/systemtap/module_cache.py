"""The cache of compiled modules: each script is compiled once, and kept as long as it is used."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.linux import hardware
from pte_magic.systemtap import compiler, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pte_magic.systemtap.script import Script

_KEPT = 64  # modules, a megabyte each, about; more if they were used within a day
_DAY = 86400  # seconds; nothing is compiled for so long

_PART = ".part-"


def directory() -> Path:
    """Return the directory of compiled modules: ``$XDG_CACHE_HOME/pte-magic/systemtap``, by default in ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pte-magic" / "systemtap"


def kept(script: Script, release: str | None = None, machine: str | None = None) -> Path | None:
    """Return the module if it was compiled before, for the kernel `release` or the running one.

    Without stap, which could compile another, a module of any version of stap is returned.
    """
    place = _place(script, release or platform.release(), machine)
    places = [place] if toolchain.version() else sorted(place.parent.glob(f"{_key(place)}-*"), key=_used, reverse=True)
    return next((module for place in places if (module := place / f"{script.name}.ko").exists()), None)


def compiled(
    script: Script,
    release: str | None = None,
    *,
    machine: str | None = None,
    verbose: bool = False,
    hear: Callable[[str], None] | None = None,
) -> Path:
    """Return the module of a script, compiled now unless it was before. A line on stderr shows that it compiles.

    An interrupt ends the compilers, and removes their files.

    Args:
        script: The script.
        release: The kernel; the running one if None.
        machine: The architecture, a name as in `hardware.machine`; that of this host if None.
        verbose: Let stap print its steps.
        hear: Called with stap's output about a script that it compiles; if `verbose`, with each line at once, from
            another thread.

    Raises:
        SystemTapError: It does not compile, or a part of the toolchain is missing; says what to type.
        KeyboardInterrupt: There was an interrupt.

    """
    release = release or platform.release()
    if module := kept(script, release, machine):
        os.utime(module.parent)
        return module
    place = _place(script, release, machine)
    learnt = directory() / "stap"
    with compiler.made(script, release, hear if verbose else None, machine=machine, learnt=learnt) as (module, said):
        _keep(module, place)
    if hear and not verbose:
        hear(said)
    return place / f"{script.name}.ko"


@contextmanager
def fresh(script: Script, release: str) -> Iterator[Path]:
    """Compile a script without the cache, and yield the module, not signed, as long as the block lasts.

    It is for installing a module for other users: no file that another user could have written goes into it.

    Raises:
        SystemTapError: It does not compile, or a part of the toolchain is missing; says what to type.
        KeyboardInterrupt: There was an interrupt.

    """
    with compiler.made(script, release, None, learnt=None) as (module, _):
        yield module


def _keep(module: Path, place: Path) -> None:
    """Put a module into the cache, atomically, as another notebook may be looking for it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_PART, dir=place.parent) as part:
        made = Path(part, "made")
        made.mkdir()
        shutil.copyfile(module, made / module.name)
        try:
            made.rename(place)
        except OSError:  # another notebook was quicker
            if not place.joinpath(module.name).exists():
                raise
    _forget_the_oldest(place.parent)


def _place(script: Script, release: str, machine: str | None = None) -> Path:
    """Return the directory of a script's module. Its name changes with everything that the module depends on.

    The part after the ``-`` is for the version of SystemTap.
    """
    key = hashlib.sha256()
    parts = (script.text, script.name, script.options, script.arguments, machine or hardware.machine(), release)
    for part in parts:
        key.update(repr(part).encode())
    key.update(_build(release))
    if toolchain.signed_only():
        key.update(b"signed")
    for place in script.include:
        for path in sorted(place.rglob("*.stp")) + sorted(place.rglob("*.stpm")):
            key.update(repr(path.relative_to(place)).encode() + path.read_bytes())
    version = hashlib.sha256(toolchain.version().encode())
    return directory() / f"{key.hexdigest()[:32]}-{version.hexdigest()[:8]}"


def _key(place: Path) -> str:
    return place.name.partition("-")[0]


def _build(release: str) -> bytes:
    """Return the text that differs between two builds of a release: that of ``uname -v``, also in the headers."""
    generated = Path("/lib/modules", release, "build/include/generated")
    for name in ("utsversion.h", "compile.h"):  # since 5.19, before
        with suppress(OSError):
            if found := re.search(rb'^#define UTS_VERSION "(.*)"$', (generated / name).read_bytes(), re.MULTILINE):
                return found[1]
    return platform.version().encode() if release == platform.release() else b""


def _forget_the_oldest(place: Path) -> None:
    """Keep the modules that were used last, and remove parts that were left behind when the host stopped."""
    modules = [path for path in place.iterdir() if path.name != "stap" and not path.name.startswith(".")]
    oldest = sorted(modules, key=_used, reverse=True)[_KEPT:]
    for path in [*oldest, *place.glob(f"{_PART}*")]:
        if _used(path) < time.time() - _DAY:
            shutil.rmtree(path, ignore_errors=True)


def _used(path: Path) -> float:
    """Return when a directory was used last; one that was just removed counts as the oldest."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0
