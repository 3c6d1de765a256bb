"""`Run`: a module that is loaded, prints, and is unloaded, whatever happens."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pte_magic.errors.escapes import visible_lines
from pte_magic.linux import kernel_text
from pte_magic.systemtap import toolchain
from pte_magic.systemtap.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATIENCE = 20.0  # seconds that unloading may take until staprun is asked again
_READ = 1 << 16
_TICK = 0.1  # seconds

# Its module may be loaded although staprun has ended: between the steps of loading, a signal ends it at once.
_LAST = """kill -INT $$
n=0
while kill -0 $$ && [ $n -lt 200 ]; do sleep .1; n=$((n + 1)); done
"""
# staprun -R puts its pid at the end of the name, which stays as long (rename_module(), staprun_funcs.c).
_UNLOAD = "staprun -d $(printf %.$(({length} - 1 - ${{#$}}))s {name})_$$"


class Run:
    """A module that is loaded by staprun and prints; unloaded by `stop`, or when this process dies.

    Attributes:
        module: The name of the loaded module: each run has its own, unless the kernel takes signed modules only.
        process: staprun, which becomes stapio when the module is loaded.
        complaints: The lines on its stderr.
        still_loaded: Why the module could not be unloaded; empty if it was unloaded, or still runs.

    """

    def __init__(
        self,
        module: Path,
        *,
        target: int | None = None,
        variables: Sequence[str] = (),
        options: Sequence[str] = (),
        hear: Callable[[str], None] | None = None,
    ) -> None:
        """Start loading a module.

        Args:
            module: The compiled module.
            target: The pid that ``target()`` returns in the script.
            variables: ``name=value`` of global variables.
            options: More options for ``staprun``.
            hear: Called with each line that staprun and the script report on stderr, from another thread.

        """
        # With another name a signature is wrong. Where those are wanted, one run at a time has the module's own, and
        # must not unload what may be another one's.
        name, self._renamed = module.stem, not toolchain.signed_only()
        command = ["staprun", *(["-R"] if self._renamed else []), *(("-x", str(target)) if target is not None else ())]
        self._guarded = Guarded(
            [*command, *options, str(module), *variables],
            last=_LAST + (_UNLOAD.format(length=len(name), name=name) if self._renamed else ""),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.process = self._guarded.process
        unique = f"_{self.process.pid}" if self._renamed else ""
        self.module = name[: len(name) - len(unique)] + unique
        self.complaints: list[str] = []
        self.still_loaded = ""
        self._hear = hear
        self._listens = True
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        stream, rest = _stream(self.process.stderr), b""
        while self._listens and (data := self._read(stream, _TICK)) != b"":
            *lines, rest = (rest + (data or b"")).split(b"\n")
            for line in lines:
                self._heard(line + b"\n")
        if rest:
            self._heard(rest)

    def _heard(self, line: bytes) -> None:
        text = visible_lines(line.decode(errors="backslashreplace"))  # it may name processes
        self.complaints.append(text)
        if self._hear:
            self._hear(text)

    def listen_no_more(self) -> None:
        """Stop reading stderr, and end the thread for it: later messages are lost."""
        self._listens = False
        self._listener.join()

    def first_line(self) -> str:
        """Return the first line that the script prints; empty if it printed none and has ended."""
        return _stream(self.process.stdout).readline().decode(errors="backslashreplace").strip()

    def read(self, seconds: float | None = None) -> bytes | None:
        """Return the script's new output, waiting for some; empty when it has ended, None if time is up."""
        return self._read(_stream(self.process.stdout), seconds)

    def _read(self, stream: IO[bytes], seconds: float | None = None) -> bytes | None:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            # A program that the script started with system() may hold the pipe open for longer than the script runs.
            ended = self.process.poll() is not None
            if poll.poll(0 if ended else _TICK * 1000):
                return os.read(stream.fileno(), _READ)
            if ended:
                return b""
        return None

    def is_under_way(self) -> bool:
        """Tell whether staprun has loaded the module, so that an interrupt now ends the script properly."""
        if self.process.poll() is not None:
            return True
        try:
            fields = kernel_text.fields(kernel_text.read(f"/proc/{self.process.pid}/status"))
        except OSError:  # it has just ended, and another thread has waited for it
            return True
        return fields["Name"] == b"stapio" and bool(int(fields["SigCgt"], 16) >> (signal.SIGINT - 1) & 1)

    def ask_to_stop(self) -> None:
        """Ask the script to end, with its end probes and their output.

        At the third request, staprun unloads the module without waiting for more output.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """End the script if it runs, wait until its module is unloaded, and return staprun's exit status.

        A second call does nothing.
        """
        if self._guarded.watched:
            self.ask_to_stop()
            self._drain()
            if self._renamed and Path("/sys/module", self.module).exists():  # staprun itself was killed
                gone = subprocess.run(
                    ["staprun", "-d", self.module],
                    capture_output=True,
                    text=True,
                    errors="backslashreplace",
                    check=False,
                )
                if gone.returncode:
                    self.still_loaded = (
                        f"{self.module} is still loaded; type `sudo staprun -d {self.module}`: {gone.stderr.strip()}"
                    )
                    self._heard(f"ERROR: {self.still_loaded}\n".encode())
            self._guarded.dismiss()
            _stream(self.process.stdout).close()
            if not self._listener.is_alive():
                _stream(self.process.stderr).close()
        return self.process.returncode

    def _drain(self) -> None:
        """Read the remaining output, so that staprun can end; after some time, kill it."""
        for end in (self.process.terminate, self.process.kill):
            until = time.monotonic() + _PATIENCE
            while self.process.poll() is None and time.monotonic() < until:
                if self.read(_TICK) == b"":  # it has closed its output
                    time.sleep(_TICK)
            if self.process.poll() is not None:
                break
            end()
        self.process.wait()
        self._listener.join(1)

    def abandon(self) -> None:
        """Forget the run in a forked child: it belongs to the parent."""
        self._guarded.forget()
        self.process.returncode = 0  # not this process' child, so nothing to wait for


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101  (each was asked for as a pipe)
    return stream
