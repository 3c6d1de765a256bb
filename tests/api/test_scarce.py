"""Nothing left of what is needed: descriptors, room on a disk, threads. One line says so, and nothing is left."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import needs_root, python

import pte_magic
from pte_magic import walkers
from pte_magic.linux import hardware
from pte_magic.linux.address_space import own
from pte_magic.walkers.shared_memory import SharedMemoryWalker

NO_DESCRIPTOR = """
import os, resource, warnings
import numpy as np
import pte_magic
from pte_magic import walkers
warnings.simplefilter("ignore")  # a fork while threads are there: numpy's
a = np.ones(4096)

def scarce(free, walked):
    if walked:
        pte_magic.walk(a)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    fds = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(max(fds) + 1 - len(fds))]  # no gap
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fds + held) + 1 + free, most[1]))
    for call in (
        lambda: pte_magic.walk(a),
        lambda: pte_magic.walk("all", pid=os.getppid()),
        lambda: next(pte_magic.stream(a)),
        lambda: pte_magic.watch(a),
        lambda: pte_magic.machine(),
        lambda: pte_magic.doctor(),
    ):
        try:
            call()
        except pte_magic.PteMagicError as error:
            assert "\\n" not in str(error), str(error)
    resource.setrlimit(resource.RLIMIT_NOFILE, most)
    for fd in held:
        os.close(fd)
    assert len(pte_magic.walk(a)) >= 8
    return walkers.get().name, len(os.listdir("/proc/self/fd")) <= len(fds) + 7

for free in range(6):
    for walked in (False, True):
        pid = os.fork()  # in which no walker has been made yet
        if pid == 0:
            try:
                print(free, walked, *scarce(free, walked), flush=True)
            except BaseException as error:
                print(free, walked, repr(error), flush=True)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
print(walkers.get().name)
"""


@needs_root
def test_without_descriptors_a_line_says_so_and_later_all_works() -> None:
    *told, best = python(NO_DESCRIPTOR).splitlines()
    assert told == [f"{free} {walked} {best} True" for free in range(6) for walked in (False, True)]


def test_a_watch_whose_thread_cannot_start_is_none() -> None:
    """The limit of threads is that of a user's all processes; Python says of each what it says here."""
    out = python("""
import _thread, threading
import numpy as np
import pte_magic
from pte_magic.api import watch as watching
a = np.ones(4096)
pte_magic.walk(a)

def start(*_, **__):
    raise RuntimeError("can't start new thread")

real = threading._start_new_thread
threading._start_new_thread = start
try:
    pte_magic.watch(a)
except pte_magic.PteMagicError as error:
    print(error)
threading._start_new_thread = real
assert not [one for one in watching._all if one.running]
watching.stop_all()
with pte_magic.watch(a) as seen:
    assert seen.running
""")
    assert out.startswith("no thread for the watch can be started: ")
    assert len(out.splitlines()) == 1


@needs_root
def test_what_else_a_watch_s_first_look_raises_is_not_about_threads() -> None:
    reader, a = walkers.get(), np.ones(4096)
    if not isinstance(reader, SharedMemoryWalker):
        pytest.skip("no walker in the kernel works here")
    start = a.ctypes.data & -hardware.PAGE_SIZE
    pieces = reader.views(own(), start, start + hardware.PAGE_SIZE)
    next(pieces)
    with pytest.raises(RuntimeError, match="this thread has the lock already"):
        pte_magic.watch(a)
    pieces.close()  # type: ignore[attr-defined]
    with pte_magic.watch(a) as seen:
        assert seen.running


def test_so_is_a_snapshot_whose_threads_cannot_start() -> None:
    pytest.importorskip("pyarrow")
    out = python("""
import os, tempfile, threading
from pathlib import Path
import pte_magic

def start(*_, **__):
    raise RuntimeError("can't start new thread")

real = threading._start_new_thread
with tempfile.TemporaryDirectory() as place:
    pte_magic.snapshot(Path(place, "first"))
    threading._start_new_thread = start
    try:
        pte_magic.snapshot(Path(place, "x"))
    except pte_magic.PteMagicError as error:
        print(error)
    threading._start_new_thread = real
    assert os.listdir(place) == ["first"]
    assert threading.enumerate() == [threading.current_thread()]
    print(len(pte_magic.snapshot(Path(place, "x"))))
""")
    said, rows = out.splitlines()
    assert said.startswith("no thread for the snapshot can be started: ")
    assert rows == "1"


@needs_root
def test_a_snapshot_larger_than_a_file_may_be_is_one_line_and_leaves_nothing() -> None:
    pytest.importorskip("pyarrow")
    out = python("""
import os, resource, tempfile
from pathlib import Path
import pte_magic
with tempfile.TemporaryDirectory() as place:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        pte_magic.snapshot(Path(place, "x"))
    except pte_magic.PteMagicError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print([str(path) for path in Path(place).rglob("*") if path.is_file()])
    print(len(pte_magic.snapshot(Path(place, "y"))))
""")
    said, left, rows = out.splitlines()
    assert "a file may have 4,096 bytes (`ulimit -f`)" in said
    assert (left, rows) == ("[]", "1")


@needs_root
def test_a_snapshot_to_a_full_disk_is_one_line_and_leaves_nothing() -> None:
    pytest.importorskip("pyarrow")
    code = """
import ctypes, os
from pathlib import Path
import pte_magic
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, b"size=16k") == 0
try:
    pte_magic.snapshot("/mnt/x")
except pte_magic.PteMagicError as error:
    print(error)
print([str(path) for path in Path("/mnt").rglob("*") if path.is_file()])
"""
    said, left = python(code, "unshare", "--mount", "--propagation", "private").splitlines()
    assert "No space left on device" in said
    assert left == "[]"
