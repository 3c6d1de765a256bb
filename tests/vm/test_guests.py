"""The tests in ``guest/``, run by a pytest inside each kernel of the lab; two guests at a time.

Each guest has two nodes, and so two CPUs, as who takes locks of the kernel has to meet those who hold them. Most of the
time one of these is idle, so that two guests do on two CPUs of the host.

A test here fails with what the pytest in its guest printed, and with what the kernel complained about.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import boot
import pytest
from chroot import WORK
from machine import Machine
from prepared import prepared
from recipe import SUITES
from rootfs import missing, ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from result import Result

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")

GUEST = "tests/vm/guest"
ALL = (
    GUEST,
    "tests/walkers/test_contract.py",
    "tests/walkers/test_races.py",
    "tests/test_interrupts.py",
    *(
        f"tests/helper/test_{name}.py"
        for name in ("clients", "forged_descriptors", "frames", "hanging_files", "malformed_messages", "who_may_look")
    ),
)
"""What is tested in a guest. The others run on the host as well, with an older Python, and without modules."""
GUESTS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    **{suite: (suite, (), ALL) for suite in SUITES},
    f"{SUITES[-1]}-no5lvl": (
        SUITES[-1],
        ("no5lvl",),
        tuple(f"{GUEST}/test_{name}.py" for name in ("levels", "shell", "tutorials")),
    ),
    f"{SUITES[-1]}-signed": (SUITES[-1], ("module.sig_enforce=1", "lockdown=integrity"), ("tests/vm/signed",)),
    f"{SUITES[-1]}-systemd": (SUITES[-1], ("lab_init=systemd",), ("tests/vm/systemd",)),
}
"""Each kernel with 5 levels of tables, which the emulated processor has; the newest with 4, too, as most computers, as
under Secure Boot, and booted by systemd."""

APPEND = ("transparent_hugepage=madvise", "hugepagesz=1G", "hugepages=1", "hugepagesz=2M", "hugepages=32")
SCALE = 0.002
"""What is done a million times on the host is done as often times this, in a guest."""
SECONDS = 2400
"""Far more than a guest needs on a machine that has nothing else to do."""


def in_guest(name: str) -> tuple[Result, int]:
    """Boot one of the guests and run the tests there; return the result, and how many tests ran."""
    kernel, append, tests = GUESTS[name]
    report = ready().work / "reports" / f"{name}.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    options = f"-p no:cacheprovider -p stuck --junit-xml={WORK}/reports/{name}.xml"
    command = f"PYTHONPATH={GUEST} PTE_MAGIC_TEST_SCALE={SCALE} python -m pytest {options} {' '.join(tests)}"
    machine = Machine((*APPEND, *append), mib=4096, numa=2, disks=("512M",))
    result = boot.boot(ready(), kernel, command, machine, timeout=SECONDS)
    return result, ran(report)


def ran(report: Path) -> int:
    """Return how many tests a file of pytest's results knows that were not skipped."""
    suite = ET.parse(report).getroot().find("testsuite") if report.exists() else None  # noqa: S314  (it is ours)
    return 0 if suite is None else int(suite.attrib["tests"]) - int(suite.attrib["skipped"])


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[tuple[Result, int]]]]:
    """All guests, started two by two."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture
    with capture.global_and_fixture_disabled():  # building takes minutes, and says what it does
        prepared()
    pool = ThreadPoolExecutor(2)
    try:
        yield {name: pool.submit(in_guest, name) for name in GUESTS}
    finally:
        boot.kill_all()
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", GUESTS)
def test_in_guest(guests: dict[str, Future[tuple[Result, int]]], name: str) -> None:
    result, count = guests[name].result()
    if wrong := result.report() or (count == 0 and "no test ran"):
        pytest.fail(f"{result.output}\n{wrong}", pytrace=False)
