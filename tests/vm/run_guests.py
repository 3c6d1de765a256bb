"""Prepares the guests that are named and runs their tests, two guests at a time: run_guests.py DIRECTORY NAME ...

It is a program of its own, as it works while other tests run (see background.py). What it does it prints, and how a
guest ended is a file of the guest's name in the directory, which is complete as soon as it is there. Two guests at a
time run beside the tests on the host, too, which often wait for something.
Nothing here is nice to them: what takes ten times as long in a guest has the less time to wait.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import boot
import guests
from prepared import prepared
from rootfs import LabError
from steps import say
from tree import packed

if TYPE_CHECKING:
    from types import FrameType

    from rootfs import Root

TESTS_FAILED = 1
"""pytest's exit status. It has tested what failed once more, in the same kernel: there is no sense in a third try."""


@cache
def root_for(kernel: str) -> Root:
    """Return the root when what the tests in guests with a kernel will load has been compiled."""
    return prepared(kernel, few=kernel != guests.NEWEST)


@cache
def archive_of(root: Root) -> Path:
    """Return the archive of the tree for all guests; it lasts as long as this process."""
    tests = [test for guest in guests.GUESTS.values() for test in guest.tests]
    return _kept.enter_context(packed(root, tests))


_kept = ExitStack()


def in_guest(root: Root, name: str, to: Path) -> None:
    """Run a guest, and write what is wrong: nothing if all is well."""
    try:
        say(f"guest {name} begins")
        result = guests.run(root, name, archive_of(root))
        count = guests.ran(guests.report(root, name))
        say(f"guest {name} ended after {result.seconds:.0f} s; {count} tests ran")
        wrong = result.report() or ("" if count else "no test ran")
        if result.status == TESTS_FAILED and not result.complaints:
            (to / f"{name}.final").touch()
        with suppress(FileNotFoundError):
            shutil.move(guests.unsteady(root, name), to / f"{name}.unsteady")
        done(to / name, f"{result.output}\n{wrong}" if wrong else "")
    except BaseException:
        done(to / name, traceback.format_exc())
        raise


def done(file: Path, text: str) -> None:
    """Write a file that is complete as soon as it is there."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.rename(file)


def end(_signal: int, _frame: FrameType | None) -> None:
    """End the guests, and all programs that build; whoever waits for one then takes back what it has done by halves."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    boot.kill_all()
    group = os.getpgrp()
    os.setpgid(0, os.getpgid(os.getppid()))
    os.killpg(group, signal.SIGKILL)  # all that was started here: it has this group, and this process no more
    sys.exit(1)


def main() -> None:
    """Prepare one guest after the other; those that are ready run meanwhile."""
    to = Path(sys.argv[1])
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest's business
    with _kept, ThreadPoolExecutor(2) as pool:
        try:
            for name in sys.argv[2:]:
                try:
                    root = root_for(guests.GUESTS[name].kernel)
                    archive_of(root)  # before two guests ask for it at once
                except LabError as error:
                    say(f"guest {name} cannot run")
                    done(to / name, f"{error}")
                else:
                    pool.submit(in_guest, root, name, to)
        except SystemExit:
            pool.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    main()
