"""Walkers are made once, by whoever needs them first, and again when what was missing may be there."""

from __future__ import annotations

import gc
import os
import signal
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from waiting import SECONDS

import pte_magic
from pte_magic import walkers
from pte_magic.errors import WalkerUnavailableError
from pte_magic.walkers import stap
from pte_magic.walkers.pagemap import PagemapWalker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pte_magic.walkers.walker import Walker

HEADERS = "the headers of kernel 9.9 are not installed"


class Maker:
    """Stands for what loads a walker: fails as often as it is told, then makes one; does something before that."""

    def __init__(self, failures: int = 0, before: Callable[[], object] = int) -> None:
        self.failures = failures
        self.before = before
        self.asked = 0

    def __call__(self, *, patient: bool = False) -> Walker:
        del patient
        self.asked += 1
        self.before()
        if self.asked <= self.failures:
            raise WalkerUnavailableError(stap.NAME, HEADERS)
        return PagemapWalker()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Maker], Maker]]:
    def use(maker: Maker) -> Maker:
        monkeypatch.setitem(walkers._MAKERS, "stap", maker)
        return maker

    walkers.close()
    yield use
    walkers.close()


def test_threads_share_one(make: Callable[[Maker], Maker]) -> None:
    maker = make(Maker(before=lambda: time.sleep(0.2)))
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: walkers.get("stap"), range(8)))) == 1
    assert maker.asked == 1


def test_what_is_loaded_is_known_when_an_interrupt_comes(make: Callable[[Maker], Maker]) -> None:
    make(Maker(before=lambda: os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt):
        walkers.attempt("stap")
    assert isinstance(walkers.known("stap"), PagemapWalker)


def test_who_names_it_has_it_tried_again(make: Callable[[Maker], Maker]) -> None:
    maker = make(Maker(failures=2))
    assert isinstance(walkers.attempt("stap"), WalkerUnavailableError)
    assert isinstance(walkers.attempt("stap"), WalkerUnavailableError)
    assert maker.asked == 1
    with pytest.raises(WalkerUnavailableError, match=HEADERS):
        walkers.get("stap")
    assert walkers.get("stap") is walkers.get("stap") is walkers.attempt("stap")
    assert maker.asked == 3


def test_auto_takes_what_works_since(make: Callable[[Maker], Maker], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bpf", "helper"):
        monkeypatch.setitem(walkers._MAKERS, name, Maker(failures=99))
    make(Maker(failures=1))
    pagemap = walkers.get()
    assert pagemap is walkers.get("pagemap")
    found = walkers.get("stap")
    assert found is not pagemap
    assert walkers.get() is found


@pytest.mark.parametrize("use", [walkers.attempt, walkers.get], ids=["attempt", "get"])
def test_one_that_cannot_work_keeps_nothing_of_its_callers(
    use: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def caller() -> weakref.ref[NDArray[np.uint8]]:
        array = np.ones(1, np.uint8)
        with suppress(WalkerUnavailableError):
            use("helper")
        return weakref.ref(array)

    # Not by the environment: the helper of the tests, once it runs, is found without it.
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: "/nonexistent/pte-magic")
    walkers.close()
    array = caller()
    assert isinstance(walkers.known("helper"), WalkerUnavailableError)
    gc.collect()
    assert array() is None
    walkers.close()  # others have a helper


def test_a_child_may_be_forked_while_one_is_made(make: Callable[[Maker], Maker]) -> None:
    maker = make(Maker(before=lambda: time.sleep(0.5)))
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(walkers.get, "stap")
        while not maker.asked:
            time.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(int(SECONDS))
                status = int(walkers.get("stap") is not walkers.attempt("stap"))
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        making.result()


def test_doctor_looks_again(make: Callable[[Maker], Maker], monkeypatch: pytest.MonkeyPatch) -> None:
    make(Maker(failures=2))
    why: list[str | None] = [HEADERS]
    ready = [False]
    monkeypatch.setattr(stap, "why_not", lambda: why[0])
    monkeypatch.setattr(stap, "is_ready", lambda: ready[0])

    def told() -> tuple[object, str]:
        row: Any = pte_magic.doctor().set_index("walker").loc["stap"]
        return row["works"], row["note"]

    assert told() == (False, HEADERS)
    why[0] = None  # they are installed, as told
    works, note = told()
    assert works is pd.NA
    assert note.startswith("not compiled yet")
    ready[0] = True
    assert told() == (False, HEADERS)
    assert told() == (True, "")
