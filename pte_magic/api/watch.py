"""`watch`: walks a target again and again in a thread, and keeps what changed."""

from __future__ import annotations

import atexit
import functools
import os
import threading
import warnings
import weakref
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from pte_magic.api import walk
from pte_magic.api.live_text import show_in_ipython
from pte_magic.api.watch_looks import Look, Looks, counts, event
from pte_magic.api.watch_thread import LookingThread
from pte_magic.errors import PteMagicError, UnstableError, arguments
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.importing import importing
from pte_magic.linux.interrupts import Lock
from pte_magic.targets.named_target import Named
from pte_magic.text import units
from pte_magic.views import watch_history
from pte_magic.views.picture_file import Picture
from pte_magic.views.watch_history import COLUMNS, History
from pte_magic.walkers.entries import same
from pte_magic.walkers.helper_timeouts import hurried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.views.watch_widget import LiveView

SHORTEST, LONGEST = 0.01, threading.TIMEOUT_MAX
"""Seconds between two looks."""


class Watch(Picture):
    """Looks at a target, whose object it holds, every so often, until it is stopped. Made by `watch`.

    These stop it: `stop`, its view's button, closing the last of its views, the end of a ``with`` statement or of a
    loop over it, the exit of its process, deleting the last reference to it, ``%unload_ext``, and the end of Python.
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
        self._looks = Looks()
        self._why = ""
        self._view: LiveView | None = None
        self._changed = threading.Condition(Lock())
        self._end = threading.Event()
        # The thread holds no watch, so one that nobody else holds can end.
        look = functools.partial(_look_unless_gone, weakref.ref(self))
        self._thread = LookingThread(look, self._end, every, f"watch of {target.text}")
        self._gone = weakref.finalize(self, self._end.set)
        self._gone.atexit = False
        _all.add(self)
        try:
            self._look()
            self._thread.start()
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

    def stop(self) -> None:
        """Take a last look, and stop. The looks are kept; a second call does nothing."""
        if threading.current_thread() is self._thread:  # its own view was told that it has ended
            return
        was_running = self.running
        self._end.set()
        with hurried():  # a helper may hang
            if self._thread.started:
                self._thread.join()
            if was_running and not self._paused and not self._why:
                self._look_again()
        self._finish()

    def _abandon(self) -> None:
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
        frames = [walk.built(look.entries, self._target.meant, self._space) for look in looks]
        for look, found in zip(looks, frames, strict=True):
            found.insert(0, "time", look.time)
        return pd.concat(frames, ignore_index=True)

    def counts(self) -> pd.DataFrame:
        """Return the number of entries of each kind, over time.

        Returns:
            Index ``time`` (datetime64[ns, UTC]); a column (int64) for each state and size of page that was seen.

        """
        with self._changed:
            return counts(list(self._looks))

    def history(self) -> History:
        """Return what its view shows: a line about all looks, the state, and the last looks that found a change."""
        with self._changed:
            events = [look.event for look in self._looks][-COLUMNS:]
            changes = self._looks.number - 1
            forgotten, by_pagemap = self._looks.forgotten, self._looks.last.encoding == "pagemap"
        state = "paused" if self.paused else f"looks every {self._every:g} s"
        if not self.running:
            state = f"stopped{self._why and ': '}{self._why}"
        seen = units.counted(changes, "change") + (" that pagemap shows" if by_pagemap else "")
        dropped = f", the first {units.counted(forgotten, 'look')} forgotten" if forgotten else ""
        return History(f"watch of {self._target.text}: {seen}{dropped}", state, events)

    def svg(self) -> str:
        """Return the picture of the last looks as an SVG document."""
        return watch_history.svg(self.history())

    def __iter__(self) -> Iterator[PteFrame]:
        """Yield the entries now, and again after each change; stop in the end."""
        seen = 0
        try:
            while True:
                with self._changed:
                    while self.running and self._looks.number == seen:
                        self._changed.wait()
                    if self._looks.number == seen:
                        return
                    seen, entries = self._looks.number, self._looks.last
                yield walk.built(entries, self._target.meant, self._space)
        finally:
            self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return watch_history.text(self.history())

    def _ipython_display_(self) -> None:
        show_in_ipython(self)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if self._view is None:
            with importing():
                from pte_magic.views.watch_widget import LiveView  # noqa: PLC0415  (widgets take as long to import as all else)
            self._view = LiveView(self)
        return self._view._repr_mimebundle_(**options)

    def _look(self) -> None:
        entries = walk.read(self._target.meant, self._space, self._walker, tables=False)
        if self._looks.number and same(entries, self._looks.last):
            return
        found = walk.built(entries, self._target.meant, self._space)
        look = Look(entries, event(found, self._looks.frame))
        with self._changed:
            self._looks.add(look, found)
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
        >>> with pte_magic.watch(a, every=0.1) as seen:
        ...     a[:] = 1
        >>> seen.frame()

    """
    with nullcontext(own()) if pid is None else AddressSpace(pid) as space:
        meant = walk.resolve(target, end, space)
        if meant.note:
            warnings.warn(meant.note, stacklevel=2)
        kind = type(target)  # never __class__, which may be anything
        name = str.__str__(target) if issubclass(kind, str) else ""
        if not name:
            name = f"{meant.ranges[0][0]:#x}" if issubclass(kind, int) else arguments.class_name(target)
        return Watch(Named(name, name, target, meant, space), every=every, walker=walker)


def stop_all() -> None:
    """Stop all that run, and wait until their threads have ended."""
    with hurried():
        for one in list(_all):
            if one.running and one._thread.started:  # noqa: SLF001  (this function is a part of it)
                one.stop()


def _look_unless_gone(watch: weakref.ref[Watch]) -> bool:
    found = watch()
    if found is not None and not found.paused:
        found._look_again()  # noqa: SLF001  (this function is a part of it)
    return found is not None


def _in_child() -> None:
    for one in list(_all):
        one._abandon()  # noqa: SLF001  (this function is a part of it)
    _all.clear()


atexit.register(stop_all)
os.register_at_fork(after_in_child=_in_child)
