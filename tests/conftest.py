"""What several tests share: walkers, helpers, processes that wait to be looked at, and the order of the tests."""

from __future__ import annotations

import atexit
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import pytest
from again import Again
from handmade import PAGE, NewMap, libc, new_maps, prefer_nodes
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from serving import CLIENTS, serving
from waiting import SECONDS, wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.api import pte_frame
from pte_magic.errors import WalkerUnavailableError
from pte_magic.formats import kernel
from pte_magic.linux import hardware, pagemap_scan
from pte_magic.linux.address_space import own
from pte_magic.text import screen
from pte_magic.walkers import helper_protocol
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.stap import StapWalker
from pte_magic.workloads.forked_process import Forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter import Jupyter
    from numpy.typing import NDArray
    from serving import Helper

    from pte_magic.linux.address_space import AddressSpace

settings.register_profile("people", deadline=None)  # a loaded machine is no fault
settings.register_profile("ci", deadline=None, derandomize=True)  # what fails there is the change's doing
settings.load_profile("ci" if os.environ.get("CI") else "people")
if not os.access(Path(__file__).parent, os.W_OK):  # as in a guest of the lab: examples cannot be kept in the tree
    _examples = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, _examples)
    set_hypothesis_home_dir(_examples)

# Who was started in the background of a script ignores interrupts, and so does what it starts; tests send some.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests ask helpers that they have started, none that this machine may have.
os.environ[helper_protocol.VARIABLE] = "/nonexistent/pte-magic"

GUESTS = "test_guests.py"
"""In vm/: the tests that wait for what runs in guests."""

NOBODY = 65534
WIDE = 1000  # columns; lines of texts are shorter
NX = {"arm64": "uxn"}.get(hardware.machine(), "nx")  # the bit that forbids user mode to execute

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: page frames, raw entries, other users, devices")


@pytest.fixture(scope="module", autouse=True)
def _nothing_old_is_garbage() -> None:
    """Have the collector of garbage leave alone what is there when a file of tests begins, and stays until the end.

    Many tests call the collector, and it looks at all objects: millions, when thousands of tests have ended.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _at_rest() -> None:
    """Have NUMA balancing, which takes access to pages away for moments, leave the tests' memory alone.

    It does that with memory of a policy that somebody chose (vma_policy_mof(), mm/mempolicy.c). This is the usual one.
    """
    prefer_nodes(4)  # MPOL_LOCAL


class Child(NamedTuple):
    """A forked process: its pid, and what makes it do its next step and return the result."""

    pid: int
    step: Callable[[], Any]


def only_on(machine: str, why: str) -> pytest.MarkDecorator:
    """Skip a test elsewhere; `why` says what only that architecture has."""
    return pytest.mark.skipif(hardware.machine() != machine, reason=f"needs {machine}: {why}")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def walked(name: str, space: AddressSpace, start: int, end: int, *, tables: bool = False) -> pte_frame.PteFrame:
    """Return the decoded frame of what a walker finds."""
    found = walkers.get(name).walk(space, start, end, tables=tables)
    return pte_frame.build(found, kernel.running(found.address_bits), pid=space.pid)


def rows(address: int, size: int = PAGE, name: str | None = None) -> pte_frame.PteFrame:
    return walked(name or RAW, own(), address, address + size)


def by_page(table: pte_frame.PteFrame, start: int, end: int) -> dict[str, NDArray[Any]]:
    """Say of every page of ``[start, end)`` what the row that covers it says; -1 where a number is missing."""
    address = np.arange(start, end, PAGE, dtype=np.uint64)
    first = table["vaddr"].to_numpy()
    row = np.searchsorted(first, address, side="right") - 1
    within = (address - first[row]) // np.uint64(PAGE)
    assert (within < table["size"].to_numpy()[row] // np.uint64(PAGE)).all()
    frames = table["pfn"].to_numpy(np.int64, na_value=-1)[row]
    found = {"pfn": np.where(frames >= 0, frames + within.astype(np.int64), -1)}
    for name in ("swap_type", "swap_offset"):
        found[name] = table[name].to_numpy(np.int64, na_value=-1)[row]
    for name in ("state", "kind"):
        found[name] = table[name].astype(object).fillna("").to_numpy()[row]
    for name in ("present", "soft_dirty", "uffd_wp"):
        if name in table.columns:  # arm64 has no soft-dirty
            found[name] = table[name].to_numpy(np.int8, na_value=-1)[row]
    return found


def python(code: str, *before: str, user: int | None = None) -> str:
    """Run Python code as a program (after the words of another, such as unshare); return what it printed.

    A `user` needs no right to read where Python is installed: the program becomes that user when it has started.
    """
    code = code if user is None else _BECOME.format(user=user) + code
    command = [*before, sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_BECOME = """
import ctypes, encodings.ascii, json, os
from pte_magic import *
import pte_magic
os.setgroups([])
os.setgid({user})
os.setuid({user})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as after exec, /proc/self is that user's
"""


# A 32-bit kernel has no type information, so no eBPF walker. One that loads no modules has no use for SystemTap; the
# guests of tests/vm have.
_CANNOT = {"bpf": hardware.machine() == "x86_32", "stap": not Path("/proc/modules").exists()}
WALKERS = tuple(name for name in walkers.NAMES if not _CANNOT.get(name))
RAW = next((name for name in ("bpf", "stap") if name in WALKERS), "bpf")
"""What tests of raw entries walk with that are not about a walker."""


@pytest.fixture(scope="session")
def helper() -> Iterator[Helper | None]:
    """The helper that this process' walker of that name asks, and its forked children's, but no other program's.

    It takes nobody's group, and tells page frames to root's group. None without root.
    """
    if os.geteuid():
        yield None
        return
    options = ("--group", str(NOBODY), "--frames", "0", "--max-clients-per-user", str(CLIENTS))
    with serving(*options) as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(found.path))
        walkers.close()  # who asked before was told that there is none
        yield found
        walkers.close()


@pytest.fixture
def served(helper: Helper | None) -> Iterator[Helper]:
    """The same helper, without any client at the beginning."""
    if helper is None:
        pytest.skip("needs root")
    _disconnect()
    wait_until(helper.alone)
    yield helper
    _disconnect()


def _disconnect() -> None:
    walker = walkers._attempts.pop("helper", None)
    walkers._chosen.clear()
    if isinstance(walker, HelperWalker):
        walker.close()


def _working(name: str, request: pytest.FixtureRequest) -> str:
    if name == "helper":
        request.getfixturevalue("helper")
    found = walkers.attempt(name)
    if isinstance(found, WalkerUnavailableError):
        pytest.skip(f"needs root: {found}" if os.geteuid() else str(found))
    return name


@pytest.fixture(params=WALKERS)
def walker(request: pytest.FixtureRequest) -> str:
    """The name of each walker in turn that this kernel could have."""
    return _working(request.param, request)


@pytest.fixture(params=[name for name in WALKERS if name != "pagemap"])
def raw_walker(request: pytest.FixtureRequest) -> str:
    """The name of each walker in turn that reads raw entries."""
    return _working(request.param, request)


@pytest.fixture
def stap() -> Iterator[StapWalker]:
    """The walker of SystemTap; afterwards nothing of it may be left."""
    found = walkers.attempt("stap")
    assert isinstance(found, StapWalker), found
    yield found
    walkers.close()
    assert "pte_ma" not in Path("/proc/modules").read_text(encoding="ascii")


@pytest.fixture
def level_walker(walker: str) -> str:
    """The name of each walker in turn that tells at which level an entry is; pagemap does with the help of a scan."""
    if walker == "pagemap" and pagemap_scan.populated(own(), 0, PAGE) is None:
        pytest.skip("needs a kernel with PAGEMAP_SCAN (6.7)")
    return walker


@pytest.fixture
def new_map() -> Iterator[NewMap]:
    with new_maps() as make:
        yield make


@contextmanager
def forked(*steps: Callable[[], Any]) -> Iterator[Child]:
    """Fork a child that does one step whenever it is asked to, and is killed in the end."""
    todo = iter(steps)

    def step() -> Any:
        return next(todo)()

    with Forked(step, inherits_files=True) as child:
        yield Child(child.pid, child.call)


def become(user: int) -> None:
    """Make this process, a forked one, an ordinary user's, as if it had been started as that."""
    for name in pte_magic.__all__:  # that user need not be able to read where the modules are
        getattr(pte_magic, name)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as after exec, /proc/self is that user's


@pytest.fixture
def physical_limit() -> int:
    """First page frame number after all memory of this machine."""
    ram = re.findall(r"-([0-9a-f]+) : System RAM", Path("/proc/iomem").read_text(encoding="ascii"))
    limit = max((int(end, 16) for end in ram), default=0) // PAGE
    return limit if limit > 1 else (1 << hardware.physical_bits()) // PAGE


def pytest_configure(config: pytest.Config) -> None:
    """Have what fails tested once more at the end, unless somebody wants to see the first failure at once."""
    # Tests of words are not about where lines are broken: in this process, a text that is not for a terminal is wide.
    screen.WIDTH = WIDE
    if not (config.option.maxfail or config.option.usepdb or config.option.collectonly):
        config.pluginmanager.register(Again(), "again")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have tests with a browser come late: an event loop runs in this thread from the first of them on.

    What waits for guests is last of all: they run while other tests do. Whether other tests have passed is asked when
    they have.
    """

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        name, uses_browser = item.path.name, "jupyter" in getattr(item, "fixturenames", ())
        return name == GUESTS, uses_browser, name == "test_threat_model.py"

    items.sort(key=place)


PASSED: set[str] = set()
"""The tests that have passed in this run, those with parameters if they did with some, by pytest's names."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        PASSED.add(report.nodeid.partition("[")[0])


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Have the lab built, if its guests are among the tests that were chosen."""
    chosen = [item for item in session.items if item.path.name == GUESTS]
    if chosen and not session.config.option.collectonly:
        from background import begin  # noqa: PLC0415  (that folder has no use in a guest)

        calls = [item.callspec for item in chosen if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
        begin(session.config, [str(call.params["guest"]) for call in calls])


def lacking(what: str) -> NoReturn:
    """Skip a test, but fail it where everything was installed for it: in continuous integration, as root."""
    if os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def jupyter() -> Iterator[Jupyter]:
    """JupyterLab in a browser, for the tests in browser/."""
    from jupyter import CHROMIUM, running  # noqa: PLC0415  (that folder is on the path for tests in it only)

    if not CHROMIUM.exists():
        lacking("needs chromium: make test installs it on Debian and its relatives, as root")
    with running() as found:
        yield found
