"""Runs a compiled script: loads its module, reads what it prints, and unloads it, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATIENCE = 20.0  # seconds that unloading may take until staprun is asked again
_READ = 1 << 16

# staprun takes the place of this shell. A child of it stays behind and waits for Python: a line through the pipe says
# that all is well; the pipe's end without one says that Python died (kill -9, out of memory), and then it interrupts
# staprun, which unloads. It must not hold staprun's output open.
_GUARDED = 'exec 3<&0 </dev/null; (read -r _ <&3 || kill -INT $$) >/dev/null 2>&1 & exec 3<&- "$@"'


class Run:
    """A module that is loaded by staprun and prints; unloaded by `stop`, or when this process dies.

    Attributes:
        module: The name under which it is loaded: each run has its own.
        process: staprun.

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
            module: What was compiled.
            target: The pid that ``target()`` gives in the script.
            variables: ``name=value`` of global variables.
            options: More options for ``staprun``.
            hear: Called with each line that staprun and the script report on stderr, from another thread.

        """
        command = ["staprun", "-R", *(("-x", str(target)) if target is not None else ()), *options]
        ours, self._alive = os.pipe()
        try:
            # A session of its own: a terminal's Ctrl-C is for Python, which then stops the run as it should be.
            self.process = subprocess.Popen(
                ["sh", "-c", _GUARDED, "sh", *command, str(module), *variables],
                stdin=ours,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            os.close(ours)
        # staprun -R puts its pid at the end of the name, which stays as long (rename_module(), staprun_funcs.c).
        unique = f"_{self.process.pid}"
        self.module = module.stem[: len(module.stem) - len(unique)] + unique
        self.complaints: list[str] = []
        self._hear = hear
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in _stream(self.process.stderr):
            text = line.decode(errors="replace")
            self.complaints.append(text)
            if self._hear:
                self._hear(text)

    def first_line(self) -> str:
        """Return the first line that the script prints; empty if it printed none and has ended."""
        return _stream(self.process.stdout).readline().decode(errors="replace").strip()

    def read(self) -> bytes:
        """Return what the script printed since, waiting for some; nothing when it has ended."""
        return os.read(_stream(self.process.stdout).fileno(), _READ)

    def ask_to_stop(self) -> None:
        """Have the script end, probes of its end included, and go on printing until then."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """End the script if it runs, wait until its module is unloaded, and return staprun's exit status.

        Harmless when done twice.
        """
        if self._alive >= 0:
            self.ask_to_stop()
            self._drain()
            os.write(self._alive, b"\n")
            os.close(self._alive)
            self._alive = -1
            _stream(self.process.stdout).close()
            _stream(self.process.stderr).close()
            if Path("/sys/module", self.module).exists():  # staprun itself was killed
                subprocess.run(["staprun", "-d", self.module], capture_output=True, check=False)
        return self.process.returncode

    def _drain(self) -> None:
        """Read what is left, so that staprun can end; after some time, end it otherwise."""
        reader = threading.Thread(target=_stream(self.process.stdout).read, daemon=True)
        reader.start()
        for end in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(_PATIENCE)
                break
            except subprocess.TimeoutExpired:
                end()
        self.process.wait()
        reader.join(1)
        self._listener.join(1)

    def abandon(self) -> None:
        """Forget the run in a forked child: it belongs to the parent."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
            self.process.returncode = 0  # not this process' child, so nothing to wait for


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101  (each was asked for as a pipe)
    return stream
