"""`play`: runs a module and shows its output while it runs."""

from __future__ import annotations

import codecs
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pte_magic.linux.interrupts import Interrupts
from pte_magic.systemtap.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_SHOWN = 1 << 20  # characters; a browser that is given more becomes slow
_END = 2000  # characters of the end that are shown nevertheless
_TICK = 0.05  # seconds
_ENOUGH = 4  # interrupts after which nobody waits for staprun


class _Screen:
    """Writes the beginning and the end of a long text to stdout; keeps all of it."""

    def __init__(self, *, show: bool) -> None:
        self._parts: list[str] = []
        self._shown = 0  # characters
        self._shows = show
        self._cut = False

    def write(self, text: str) -> None:
        within_line = not self._parts or not self._parts[-1].endswith("\n")
        self._parts.append(text)
        if self._shows and self._shown + len(text) > _SHOWN:
            left = _SHOWN - self._shown
            text = text[: text.rfind("\n", 0, left) + 1 or left * within_line]
            self._cut = True
        if self._shows:
            self._put(text)
        if self._shows and self._cut:
            self._shows = False
            _say("\n… the rest is not shown here; all of it is returned, and -o NAME keeps it …\n")

    def text(self) -> str:
        """Return the whole text, and show its end if it was not shown yet."""
        text = "".join(self._parts)
        if self._cut:
            end = text[max(self._shown, len(text) - _END) :]
            self._put(end[end.find("\n") + 1 :] if len(end) == _END else end)
            _say(f"({len(text):,} characters in all)\n")
        return text

    def _put(self, text: str) -> None:
        self._shown += len(text)
        sys.stdout.write(text)
        sys.stdout.flush()


def play(  # noqa: PLR0913  (what a run can be told)
    module: Path,
    *,
    target: int,
    variables: Sequence[str] = (),
    options: Sequence[str] = (),
    timeout: float | None = None,
    show: bool = True,
    hear: Callable[[str], None],
) -> tuple[str, str]:
    """Run a module until it ends, time is up or it is interrupted; it can print the rest of its output in each case.

    Args:
        module: The compiled module.
        target: The pid that ``target()`` gives in the script.
        variables: ``name=value`` of global variables.
        options: More options for ``staprun``.
        timeout: Seconds after its probes are registered; None for no limit.
        show: Write its output to stdout.
        hear: Called with each line of its warnings.

    Returns:
        Its output, and the error, empty if there was none.

    """
    errors: list[str] = []
    screen = _Screen(show=show)
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    with Interrupts() as interrupts:
        run = Run(
            module,
            target=target,
            variables=variables,
            options=options,
            hear=lambda line: errors.append(line) if line.startswith("ERROR") else hear(line),
        )
        try:
            interrupts.call(run.ask_to_stop)
            with _ended_after(timeout, run):
                data: bytes | None = None
                while data != b"" and interrupts.count < _ENOUGH:
                    data = run.read(1)
                    screen.write(decoder.decode(data or b"", final=data == b""))
        finally:
            status = run.stop()
        if status and not errors and not interrupts.count:
            ending = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
            errors.append(f"staprun {ending}; its module was unloaded")
        return screen.text(), "".join(errors)


@contextmanager
def _ended_after(seconds: float | None, run: Run) -> Iterator[None]:
    """Ask a run to stop after some time, without the time to load its module."""
    over = threading.Event()

    def wait() -> None:
        while not run.is_under_way():
            if over.wait(_TICK):
                return
        if not over.wait(seconds):
            run.ask_to_stop()

    timer = threading.Thread(target=wait, daemon=True)
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        over.set()
        if seconds is not None:
            timer.join()


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
