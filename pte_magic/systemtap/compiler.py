"""The compilers of SystemTap: run, and ended whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.errors import SystemTapError
from pte_magic.errors.escapes import visible_lines
from pte_magic.linux.interrupts import Interrupts
from pte_magic.systemtap import toolchain
from pte_magic.systemtap.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pte_magic.systemtap.script import Script

_TICK = 1.0  # seconds
_PATIENCE = 5.0  # seconds that compilers may take to end when they are told to
_LAST = 'kill -TERM -$$; sleep 2; rm -rf "$WORK"; kill -KILL -$$'


@contextmanager
def made(
    script: Script,
    release: str,
    hear: Callable[[str], None] | None,
    *,
    machine: str | None = None,
    learnt: Path | None,
) -> Iterator[tuple[Path, str]]:
    """Compile a script in a directory that lasts as long as the block; yield the module, and stap's output.

    Args:
        script: The script.
        release: The kernel.
        hear: Called with each line of stap's output, at once, from another thread; stap then prints its steps.
        machine: The architecture, a name as in `hardware.machine`; that of this host if None.
        learnt: The directory of stap's cache about the kernel's headers, which halves the time of the next compile.
            With None, no cache is used or left, and the module is not signed.

    Raises:
        SystemTapError: It does not compile, or a part of the toolchain is missing; says what to type.
        KeyboardInterrupt: There was an interrupt.

    """
    if why := toolchain.cannot_compile(release):
        raise SystemTapError(why)
    # Not where modules are kept: make wants named pipes, which not all file systems have.
    with Interrupts() as interrupts, tempfile.TemporaryDirectory(prefix="pte-magic-") as work:
        source = Path(work, f"{script.name}.stp")
        source.write_text(script.text, encoding="utf-8")
        command = _command(script, source, release, machine, verbose=hear is not None, sign=learnt is not None)
        what = f"{script.name} for kernel {release}"
        said = _compile(command, source, interrupts, hear, what=what, learnt=learnt or source.parent / "stap")
        if not interrupts.count:
            yield source.with_suffix(".ko"), said
    if interrupts.count:
        raise KeyboardInterrupt


def _command(  # noqa: PLR0913  (one caller)
    script: Script, source: Path, release: str, machine: str | None, *, verbose: bool, sign: bool
) -> list[str]:
    command = ["stap", "-p4", *toolchain.options_for(machine), "-r", release, "-m", script.name]
    command += [*["-v"] * verbose, *script.options]
    if sign and toolchain.signed_only():
        command.append("--sign-module")
    for place in script.include:
        command += ["-I", str(place)]
    return [*command, "--", source.name, *script.arguments]


def _compile(  # noqa: PLR0913  (one caller)
    command: list[str],
    source: Path,
    interrupts: Interrupts,
    hear: Callable[[str], None] | None,
    *,
    what: str,
    learnt: Path,
) -> str:
    environment = {"SYSTEMTAP_DIR": str(learnt), "TMPDIR": str(source.parent), "LC_ALL": "C.UTF-8"}
    guarded = Guarded(
        command,
        last=_LAST,
        cwd=source.parent,
        env=os.environ | environment | {"WORK": str(source.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    stap = guarded.process

    def tell() -> None:
        # Told a second time, stap ends before its compilers do, which would go on to write where all is removed.
        if interrupts.count == 1:
            _signal(stap, signal.SIGTERM)

    interrupts.call(tell)
    said: list[str] = []
    reader = threading.Thread(target=_listen, args=(stap, said, hear), daemon=True)
    reader.start()
    try:
        _wait(stap, "" if hear else f"SystemTap compiles {what}", interrupts)
    finally:
        _end(stap, told=interrupts.count > 0)
        guarded.dismiss()
        reader.join()
    if not interrupts.count and (stap.returncode or not source.with_suffix(".ko").exists()):
        raise SystemTapError("".join(said).strip() or f"stap failed with exit status {stap.returncode}")
    return "".join(said)


def _listen(stap: subprocess.Popen[bytes], said: list[str], hear: Callable[[str], None] | None) -> None:
    assert stap.stderr is not None  # noqa: S101  (it was asked for as a pipe)
    with stap.stderr as lines:
        for line in lines:
            said.append(visible_lines(line.decode(errors="backslashreplace")))
            if hear:
                hear(said[-1])


def _wait(stap: subprocess.Popen[bytes], what: str, interrupts: Interrupts) -> None:
    """Wait for the end, and show the seconds on one line."""
    began = time.monotonic()
    end = ""
    while not interrupts.count:
        try:
            stap.wait(_TICK)
            break
        except subprocess.TimeoutExpired:
            if what:
                end = "\n"
                sys.stderr.write(f"\r{what}, once: {time.monotonic() - began:.0f} s")
                sys.stderr.flush()
    sys.stderr.write(end)


def _signal(stap: subprocess.Popen[bytes], number: int) -> None:
    if stap.poll() is None:
        os.killpg(stap.pid, number)


def _end(stap: subprocess.Popen[bytes], *, told: bool) -> None:
    """End a program that leads a process group, with all programs that it started, if it still runs."""
    if not told:
        _signal(stap, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        stap.wait(_PATIENCE)
    # Its guard is in the group, too, so that no other group can have this number.
    with suppress(ProcessLookupError):
        os.killpg(stap.pid, signal.SIGKILL)
        stap.wait()
        until = time.monotonic() + _TICK
        while told and time.monotonic() < until:
            os.killpg(stap.pid, 0)
            time.sleep(0.01)
    stap.wait()
