"""`faults` and `SeenFaults`: the page faults of a block of Python, by line and by variable."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from pte_magic.api.faults import frame_names, ledger, owners_of_faults, shown, sums, target_ranges
from pte_magic.api.faults.fault_rows import FaultRows
from pte_magic.api.faults.owners_of_faults import Surroundings
from pte_magic.errors import PteMagicError, ResourceError, TargetError, arguments
from pte_magic.events import fault_sources, lines, totals
from pte_magic.linux.address_space import own
from pte_magic.linux.interrupts import deferred
from pte_magic.targets import owners
from pte_magic.text import screen
from pte_magic.views import faults_html, faults_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    import pandas as pd

    from pte_magic.events.fault_record import Faults
    from pte_magic.events.line_records import Lines
    from pte_magic.events.source import FaultSource
    from pte_magic.linux.regions import Region
    from pte_magic.targets.namespaces import Held
    from pte_magic.targets.owners import Owners
    from pte_magic.views.faults_shown import Shown
    from pte_magic.views.faults_timeline import Timeline

    _Names = tuple[list[Held], set[int]]
    _Ranges = Callable[[], list[tuple[int, int]] | None]

_MOST = 1_000_000


class SeenFaults:
    """The page faults of a block of Python; made by `faults`.

    It shows itself as a sentence, the lines with their faults, and the variables with theirs. Faults that the package
    itself made at the begin and the end of the block have no line.

    Attributes:
        seconds: How long the block ran; 0 before its end.

    """

    __module__ = "pte_magic"

    def __init__(  # noqa: PLR0913  (options by name)
        self,
        ranges: _Ranges,
        *,
        source: str = "auto",
        traces_lines: bool = True,
        children: bool = False,
        most: int = _MOST,
        buffer: int = fault_sources.BUFFER,
        cell: str = "",
    ) -> None:
        self.seconds = 0.0
        self._resolved = ranges
        options: dict[str, Any] = {"source": source, "children": children, "most": most, "buffer": buffer}
        self._open = functools.partial(fault_sources.open_source, **options)
        self._again = functools.partial(SeenFaults, ranges, traces_lines=traces_lines, **options)
        self._traces_lines, self._children = traces_lines, children
        self._source: FaultSource | None = None
        self._trace: lines.LineTrace | None = None
        self._before: Owners | None = None
        self._ranges: list[tuple[int, int]] | None = None
        self._notes: list[str] = []
        self._ledger: ledger.Ledger | None = None
        self._began = self._pid = self._of_children = 0
        self._cell = cell

    def __enter__(self) -> Self:
        frame = frame_names.users_frame(sys._getframe(1))  # noqa: SLF001  (its lines are asked for)
        try:
            self._begin(frame, frame_names.names_before(frame))
        except KeyboardInterrupt:  # also one that comes after it has begun: then there is no __exit__
            self._detach()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(lambda: frame_names.names_of(frame_names.users_frame(sys._getframe())))  # noqa: SLF001  (its variables are asked for)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose faults are seen at each call; its attribute ``seen`` has those of the last one.

        Raises:
            TargetError: It is a generator function: its body runs after the call.

        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            message = f"{arguments.shown(function.__name__)} is a generator function, whose body runs after the call"
            message = f"{message}; type `with pte_magic.faults() as seen:` around the loop that uses it"
            raise TargetError(message)

        @functools.wraps(function)
        def seen(*args: Any, **options: Any) -> Any:
            with self._again() as found:
                wrapper.seen = found
                return function(*args, **options)

        @functools.wraps(function)
        async def seen_later(*args: Any, **options: Any) -> Any:
            with self._again() as found:
                wrapper.seen = found
                return await function(*args, **options)

        wrapper: Any = seen_later if inspect.iscoroutinefunction(function) else seen
        return wrapper  # type: ignore[no-any-return]  # it has one more attribute

    def _begin(self, frame: FrameType | None, names: _Names) -> None:
        """Begin, in a frame whose lines are traced, too; None if it runs later."""
        if self._source is not None or self._ledger is not None:
            message = "these faults were seen already; call pte_magic.faults() for others"
            raise ResourceError(message)
        self._ranges = self._resolved()
        held, _ = names
        self._before = owners_of_faults.direct(held)
        held.clear()
        try:
            self._source = self._open()
            if self._traces_lines:
                self._trace = lines.LineTrace(counts=self._source.name == "rusage")
                try:
                    self._trace.start(frame)
                except ResourceError as error:  # addresses are known without lines, too
                    self._trace = None
                    self._notes.append(str(error))
            self._pid, self._of_children = os.getpid(), totals.of_ended_children()
            self._began = time.monotonic_ns()
            self._source.start()
        except BaseException:
            self._detach()
            raise

    def _end(self, names: Callable[[], _Names]) -> None:
        """End, and find out all that will be different later."""
        source = self._source
        if source is None or self._before is None:
            return
        if self._pid != os.getpid():  # a forked child, which leaves the block, too: all is its parent's
            self._trace = self._source = None
            return
        try:
            if self._trace is not None:
                self._trace.leave()
            self.seconds = (time.monotonic_ns() - self._began) / 1e9
            found = source.stop()
            traced = None if self._trace is None else self._trace.stop()
        finally:
            try:
                self._detach()
            finally:
                self._detach()  # an interrupt may have come before its first line
        more = totals.of_ended_children() - self._of_children
        if more and not self._children:
            self._notes.append(f"{more:,} faults of child processes are not seen; type --children, or children=True")
        self._ledger = self._made(found, traced, names)
        self._before = None

    def _made(self, found: Faults, traced: Lines | None, names: Callable[[], _Names]) -> ledger.Ledger:
        if len(found.records):
            held, beyond = names()
            after = owners.of_held(held, beyond)
        else:
            after = owners.owners({})
        ours = owners_of_faults.NO_RANGES if traced is None else traced.own
        before = after if self._before is None else self._before
        regions: list[Region] = []
        try:
            regions = own().regions()
        except PteMagicError as error:  # the block has run: all else is shown
            self._notes.append(str(error))
        around = Surroundings(before, after, regions, ours)
        made = ledger.ledger(found, traced, around)
        if self._ranges is not None:
            more, notes = target_ranges.after_block(self._resolved)
            self._ranges += [pair for pair in more if pair not in self._ranges]
            self._notes += notes
        return ledger.within(made, self._ranges)

    def _detach(self) -> None:
        with deferred():
            trace, source = self._trace, self._source
            self._trace = self._source = None
            try:
                if trace is not None:
                    trace.cancel()
            finally:
                if source is not None:
                    source.close()

    def _done(self) -> ledger.Ledger:
        if self._ledger is None:
            message = "the block has not ended yet; ask after it"
            raise ResourceError(message)
        return self._ledger

    @property
    def lost(self) -> int:
        """The number of faults for which there was no room."""
        return self._done().seen.lost

    @property
    def source(self) -> str:
        """The name of the source that saw them: bpf, perf or rusage."""
        return self._done().seen.source

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what could not be seen, and why."""
        done = self._done()
        notes = [*self._notes, *done.seen.notes]
        if done.lines is not None and done.lines.full is not None:
            notes.append(f"lines were recorded for {lines.ROOM:,} changes of lines; later faults have no line")
        return tuple(notes)

    def frame(self) -> FaultRows:
        """Return the ledger: one row per fault, in the order of their times; none if the source only counts them."""
        return FaultRows(ledger.frame(self._done()))

    def by_line(self) -> pd.DataFrame:
        """Return the sums of faults by line: file, line, function, code, faults, major, bytes and ns."""
        return sums.by_line(self._done())

    def by_variable(self) -> pd.DataFrame:
        """Return the sums of faults by variable, or by other memory: faults, bytes, ns, and their kinds in words."""
        return sums.by_variable(self._done())

    def timeline(self) -> Timeline:
        """Return a picture of the faults: time from left to right, addresses by variable from top to bottom."""
        return self._shown().timeline()

    def _shown(self) -> Shown:
        return shown.shown(self._done(), self.seconds, self._cell, self.notes)

    def __repr__(self) -> str:
        if self._ledger is None:
            return "<SeenFaults: the block has not ended yet>"
        return faults_text.text(self._shown())

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        with screen.colored(wanted=screen.wants_colors()):
            found = {"text/plain": repr(self)}
        if self._ledger is not None and not screen.is_terminal():
            found["text/html"] = faults_html.html(self._shown())
        return found


def faults(
    *targets: object,
    source: str = "auto",
    lines: bool = True,
    children: bool = False,
    most: int = _MOST,
    buffer: int = fault_sources.BUFFER,
) -> SeenFaults:
    """See the page faults of a block of Python, or of a function: which line touched which memory, and how.

    Args:
        targets: Only faults in their memory, as for `walk`; all if there are none.
        source: ``"bpf"`` (as root) reads the entry before and after each fault, ``"perf"`` knows its address, and
            ``"rusage"`` counts by line, for every user; ``"auto"`` is the first of these that works here.
        lines: Find out which line ran: each line of the user's code takes about a microsecond more.
        children: Also see the faults of processes that are forked meanwhile.
        most: The most faults that are kept; more are counted as lost.
        buffer: The most bytes in the kernel for faults that were not read yet.

    Returns:
        A context manager, and a decorator.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type.

    Example:
        >>> with pte_magic.faults() as seen:
        ...     b = numpy.ones(1_000_000)
        >>> seen.by_line()

    """
    lines = arguments.flag(lines, "lines", "type lines=False to see faults without lines")
    children = arguments.flag(children, "children", "type children=True to follow processes that are forked")
    most = arguments.integer(most, "most", "type a number of faults, such as most=100000", least=1)
    buffer = arguments.integer(buffer, "buffer", "type a number of bytes, such as buffer=1 << 24", least=1)
    source = arguments.text(source, "source", "type 'auto', 'bpf', 'perf' or 'rusage'")
    where = functools.partial(target_ranges.of_targets, targets)
    return SeenFaults(where, source=source, traces_lines=lines, children=children, most=most, buffer=buffer)
