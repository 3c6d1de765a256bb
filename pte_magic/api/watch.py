"""`watch`: walks a target again and again in a thread, and keeps what changed."""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
import weakref
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pandas as pd

from pte_magic.api import walk
from pte_magic.errors import PteMagicError, UnstableError, arguments
from pte_magic.linux import descriptors
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.interrupts import Lock, deferred
from pte_magic.targets.named import Named
from pte_magic.text import units
from pte_magic.views import diff_view, watch_history
from pte_magic.views.headline import headline
from pte_magic.views.watch_history import COLUMNS, Event, History, Kind
from pte_magic.walkers.entries import same
from pte_magic.walkers.patience import hurried

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.views.watch_widget import LiveView
    from pte_magic.walkers.entries import Entries

SHORTEST, LONGEST = 0.01, threading.TIMEOUT_MAX
"""Seconds between two looks."""
LOOKS, HELD = 10_000, 1 << 24
"""Looks that are remembered at most, and entries of all of them: 128 MiB. The oldest are forgotten first."""
_SHARE = 4  # looks may take a quarter of the time, however long one takes


class Look(NamedTuple):
    """The entries that a watch saw when something had changed."""

    entries: Entries
    event: Event


class Watch:
    """Looks at a target every so often, until it is stopped. Made by `watch`.

    These stop it: `stop`, its view's button, closing the last of its views, the end of a ``with`` statement or of a
    loop over it, the exit of its process, deleting the last reference to it, ``%unload_ext``, and the end of Python. It
    holds the target's object.
    """

    __module__ = "pte_magic"

    def __init__(self, target: Named, *, every: float, walker: str) -> None:
        """Take the first look, and start.

        Args:
            target: The target; its address space is copied.
            every: Seconds between two looks.
            walker: Name of the walker.

        Raises:
            PteMagicError: It cannot be looked at, or not that often.

        """
        every = arguments.seconds(every, "every", SHORTEST, LONGEST)
        self._target, self._every, self._walker = target, every, walker
        self._space = target.space.copy()
        self._paused = False
        self._looks: deque[Look] = deque()
        self._last: PteFrame | None = None  # the frame of the last of them
        self._held = self._forgotten = 0  # entries of these; looks that were forgotten
        self._why = ""
        self._view: LiveView | None = None
        self._changed = threading.Condition(Lock())
        self._end = threading.Event()
        # The thread holds no watch, so one that nobody else holds can end.
        self._thread = threading.Thread(
            target=_keep_looking,
            args=(weakref.ref(self), self._end, every),
            name=f"watch of {target.text}",
            daemon=True,
        )
        self._gone = weakref.finalize(self, self._end.set)
        self._gone.atexit = False
        _all.add(self)
        try:
            self._look()
            with deferred():  # or the thread would be half started
                self._start()
        except BaseException:
            self._finish()
            raise

    @property
    def paused(self) -> bool:
        """True while it does not look; may be set."""
        return self._paused

    @paused.setter
    def paused(self, value: bool) -> None:
        self._paused = value
        if self._view:
            self._view.paused = value
        self._tell()

    @property
    def running(self) -> bool:
        """True until it is stopped."""
        return not self._end.is_set()

    @property
    def _started(self) -> bool:
        return self._thread.ident is not None

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            raise descriptors.no_thread(what="the watch") from error

    def stop(self) -> None:
        """Take a last look, and stop. The looks are kept; a second call does nothing."""
        if threading.current_thread() is self._thread:  # its own view was told that it has ended
            return
        was_running = self.running
        self._end.set()
        with hurried():  # a helper may hang
            if self._started:
                self._thread.join()
            if was_running and not self._paused and not self._why:
                self._look_again()
        self._finish()

    def abandon(self) -> None:
        """End it in a forked child: the thread that looks is the parent's, and may have held the locks."""
        self._changed = threading.Condition(Lock())
        self._gone.detach()
        if self.running:
            self._why = "it looks in the process that this one was forked from"
        self._end = threading.Event()
        self._end.set()
        self._view = None
        self._space.close()

    def frame(self) -> PteFrame:
        """Return all entries of all looks at which something had changed, and of the first one.

        Returns:
            A `PteFrame` with one more column, the first: ``time``, when the look was taken (datetime64[ns, UTC]).

        """
        with self._changed:
            looks = list(self._looks)
        frames = []
        for look in looks:
            found = walk.built(look.entries, self._target.meant, self._space)
            found.insert(0, "time", pd.Timestamp(look.event.time, unit="s", tz="UTC").as_unit("ns"))
            frames.append(found)
        return pd.concat(frames, ignore_index=True)

    def counts(self) -> pd.DataFrame:
        """Return the number of entries of each kind, over time.

        Returns:
            Index ``time`` (datetime64[ns, UTC]); a column (int64) for each state and size of page that was seen.

        """
        with self._changed:
            events = [look.event for look in self._looks]
        index = pd.DatetimeIndex([pd.Timestamp(event.time, unit="s", tz="UTC") for event in events], name="time")
        rows = [{kind.words: entries for kind, (entries, _) in event.counts.items()} for event in events]
        return pd.DataFrame(rows, index=index.as_unit("ns")).fillna(0).astype("int64")

    def history(self) -> History:
        """Return the history that its view shows."""
        with self._changed:
            events = [look.event for look in self._looks][-COLUMNS:]
            changes = self._number - 1
            by_pagemap = bool(self._looks) and self._looks[-1].entries.encoding == "pagemap"
        state = "paused" if self.paused else f"looks every {self._every:g} s"
        if not self.running:
            state = f"stopped{self._why and ': '}{self._why}"
        seen = units.counted(changes, "change") + (" that pagemap shows" if by_pagemap else "")
        dropped = f", the first {units.counted(self._forgotten, 'look')} forgotten" if self._forgotten else ""
        return History(f"watch of {self._target.text}: {seen}{dropped}", state, events)

    def __iter__(self) -> Iterator[PteFrame]:
        """Yield the entries now, and again after each change; stop in the end."""
        seen = 0
        try:
            while True:
                with self._changed:
                    while self.running and self._number == seen:
                        self._changed.wait()
                    if self._number == seen:
                        return
                    seen, entries = self._number, self._looks[-1].entries
                yield walk.built(entries, self._target.meant, self._space)
        finally:
            self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return watch_history.text(self.history())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if self._view is None:
            with deferred():
                from pte_magic.views.watch_widget import LiveView  # noqa: PLC0415  (widgets take as long to import as all else)

            self._view = LiveView(self)
        return self._view._repr_mimebundle_(**options)

    @property
    def _number(self) -> int:
        """The number of looks that found a change, also those that were forgotten."""
        return self._forgotten + len(self._looks)

    def _look(self) -> None:
        entries = walk.read(self._target.meant, self._space, self._walker, tables=False)
        if self._looks and same(entries, self._looks[-1].entries):
            return
        found = walk.built(entries, self._target.meant, self._space)
        if self._last is None:
            words = ": ".join(["first look", *headline(found)])
        else:
            words = diff_view.headline(self._last.diff(found))
        summary = found.summary()
        counts = {Kind(*kind): (int(n), int(covered)) for kind, n, covered in summary.itertuples(name=None)}
        look = Look(entries, Event(time.time(), words, counts))
        with self._changed:
            self._last = found
            self._looks.append(look)
            self._held += len(entries)
            while len(self._looks) > LOOKS or (self._held > HELD and len(self._looks) > 1):
                self._held -= len(self._looks.popleft().entries)
                self._forgotten += 1
        self._tell()

    def _look_again(self) -> None:
        try:
            self._look()
        except UnstableError:
            pass  # it changes faster than it can be read; the next look will do
        except PteMagicError as error:  # the process exited
            self._finish(str(error))
        except BaseException as error:
            self._finish(repr(error))
            raise

    def _finish(self, why: str = "") -> None:
        self._why = self._why or why
        self._end.set()
        self._space.close()
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._view:
            self._view.refresh()


_all: weakref.WeakSet[Watch] = weakref.WeakSet()


def watch(
    target: object, end: int | None = None, *, every: float = 1.0, pid: int | None = None, walker: str = "auto"
) -> Watch:
    """Look at a target again and again, in a thread, and remember what changed.

    In a notebook, the result is a live view. A look without changes costs only a walk and a comparison of raw entries.
    Looks take a quarter of the time at most, however long one takes. Looking may change entries of this process' own
    heap and stack.

    Args:
        target: As for `pte_magic.walk`.
        end: As for `pte_magic.walk`.
        every: Seconds between two looks, 0.01 or more.
        pid: As for `pte_magic.walk`.
        walker: As for `pte_magic.walk`.

    Returns:
        A `Watch`. Its ``frame()`` has all entries that it saw, ``counts()`` their numbers; a loop over it gets a frame
        at each change; ``stop()``, or the end of a ``with`` statement, ends it.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type.

    Example:
        >>> with pte_magic.watch(a, every=0.1) as seen:  # doctest: +SKIP
        ...     a[:] = 1
        >>> seen.frame()  # doctest: +SKIP

    """
    with nullcontext(own()) if pid is None else AddressSpace(pid) as space:
        meant = walk.resolve(target, end, space)
        if meant.note:
            warnings.warn(meant.note, stacklevel=2)
        kind = type(target)  # never __class__, which may be anything
        if issubclass(kind, str):
            name = str.__str__(target)
        else:
            name = f"{meant.ranges[0][0]:#x}" if issubclass(kind, int) else arguments.class_name(target)
        return Watch(Named(name, name, target, meant, space), every=every, walker=walker)


def stop_all() -> None:
    """Stop all that run, and wait until their threads have ended."""
    with hurried():
        for one in list(_all):
            if one.running and one._started:  # noqa: SLF001  (this function is a part of it)
                one.stop()


def _keep_looking(found: weakref.ref[Watch], end: threading.Event, every: float) -> None:
    pause = every
    while not end.wait(pause):
        watch = found()
        if watch is None:
            return
        if not watch.paused:
            before = time.monotonic()
            watch._look_again()  # noqa: SLF001  (this function is a part of it)
            pause = max(every, _SHARE * (time.monotonic() - before))
        del watch  # nobody else may hold it


def _in_child() -> None:
    for one in list(_all):
        one.abandon()
    _all.clear()


atexit.register(stop_all)
os.register_at_fork(after_in_child=_in_child)
