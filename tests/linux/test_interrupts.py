"""Interrupts that wait until it is their turn."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pte_magic.linux.interrupts import Interrupts, Lock, deferred


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_calls_a_function_and_raises_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    called: list[int] = []
    with Interrupts() as interrupts:
        interrupts.call(lambda: called.append(interrupts.count))
        interrupt()
        interrupt()
    assert called == [1, 2]
    assert interrupts.count == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_one_that_came_before_there_was_a_function_calls_it() -> None:
    called: list[int] = []
    with Interrupts() as interrupts:
        interrupt()
        interrupts.call(lambda: called.append(interrupts.count))
        assert called == [1]


def test_afterwards_they_are_what_they_were() -> None:
    def fail() -> None:
        with Interrupts():
            interrupt()
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_the_inner_one_hears_them() -> None:
    with Interrupts() as outer, Interrupts() as inner:
        interrupt()
    assert (outer.count, inner.count) == (0, 1)


def test_another_thread_leaves_them_to_the_main_one() -> None:
    handlers: list[object] = []

    def look() -> None:
        with Interrupts() as interrupts:
            interrupts.call(lambda: None)
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_a_program_that_ignores_them_goes_on_to() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            interrupt()
        assert interrupts.count == 1
        interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_was_not_installed_from_python_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a program in C has Python in it: what Python cannot put back it must not replace."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(signal, "getsignal", lambda _: None)  # so Python tells that
    with Interrupts(), deferred():
        pass
    monkeypatch.undo()
    found = signal.signal(signal.SIGINT, before)
    assert found is before


def test_a_deferred_one_comes_after_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012  (that the block goes on is what is tested)
        interrupt()
        done.append("all")
    assert done == ["all"]
    with deferred():
        pass


def test_a_deferred_one_comes_also_if_something_else_goes_wrong() -> None:
    with pytest.raises(KeyboardInterrupt) as told, deferred():  # noqa: PT012  (as above)
        interrupt()
        raise LookupError
    assert isinstance(told.value.__context__, LookupError)


def test_a_deferred_one_is_of_whoever_hears_them_otherwise() -> None:
    with Interrupts() as outer, deferred():
        interrupt()
    assert outer.count == 1
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with deferred():
            interrupt()
            assert not heard
        assert heard == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with deferred():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_leaves_no_lock_taken() -> None:
    lock = Lock()
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(1) as another:
            for number in range(500):
                with pytest.raises(KeyboardInterrupt):  # noqa: PT012  (it may come anywhere)
                    signal.setitimer(signal.ITIMER_REAL, 20e-6 + number * 1e-6)
                    while True:
                        with lock:
                            pass
                assert another.submit(lock.acquire, blocking=False).result()
                another.submit(lock.release).result()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_lock_is_not_taken_twice() -> None:
    lock = Lock()
    with lock, pytest.raises(RuntimeError, match="already"), lock:
        pass
    with lock:
        pass
