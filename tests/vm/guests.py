"""Which tests are run in which guest, and how: by a pytest in it, which writes a report that the host sees.

Each guest has two nodes, and so two CPUs, as who takes locks of the kernel has to meet those who hold them. Most of the
time one of these is idle, so that two guests do on two CPUs of the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

import boot
from architectures import SUITES
from chroot import WORK
from machine import Machine
from recipe import PROJECT
from tree import unpack

if TYPE_CHECKING:
    from pathlib import Path

    from result import Result
    from rootfs import Root

GUEST = "tests/vm/guest"
CONTRACT = "tests/walkers/test_contract.py"
EACH_WALKER = f"{CONTRACT}::test_huge_pages_are_rows_of_their_own_size_in_all_walkers"
"""The least that README's table of what works where (support.py) has to be told by a guest that runs few tests."""
WHY = tuple(
    f"tests/api/test_why.py::test_{name}"
    for name in (
        *("advice_against_huge_pages", "guards_in_the_way", "memory_on_huge_pages_is_said_to_be"),
        *("memory_that_userfaultfd_watches", "pages_of_zeros", "pages_that_a_forked_child_shares", "shared_memory"),
        *("pages_that_somebody_else_holds", "another_process_gets_huge_pages_by_root", "a_tmpfs_without_huge_pages"),
        *("prctl_that_disables_huge_pages", "prctl_that_disables_huge_pages_but_where_they_are_asked_for"),
        "the_limit_of_a_memory_cgroup",
    )
)
"""What keeps memory from huge pages, where kernels have rules of their own; the others are on the host only."""
ALL = (
    *(f"{GUEST}/{path.name}" for path in sorted((PROJECT / GUEST).glob("test_*.py"))),
    CONTRACT,
    "tests/events/test_fault_sources.py",
    "tests/walkers/test_32_bit_processes.py",
    "tests/walkers/test_races.py",
    "tests/linux/test_interrupts.py",
    *WHY,
    *(
        f"tests/helper/test_{name}.py"
        for name in ("clients", "forged_descriptors", "frames", "hanging_files", "malformed_messages", "who_may_look")
    ),
)
"""What is tested in a guest. The others run on the host as well, with an older Python, and without modules."""

IN_THE_NEWEST = (
    *(f"{GUEST}/test_{name}.py" for name in ("stap_cells", "stap_notebooks")),
    *(f"tests/helper/test_{name}.py" for name in ("clients", "hanging_files")),
)
"""What takes minutes and asks little of the kernel: how a cell's words become a script, and its output a table; how
notebooks use one module; what a helper does with clients of every kind. The newest kernel has all that others have."""

IN_NEWEST_AND_OLDEST = (
    *(
        f"{GUEST}/test_{name}.py"
        for name in (
            *("dump_pte_ends", "helper_stap", "module_installed", "module_life", "stap_endings", "whole_machine"),
            "why_settings",
        )
    ),
    *WHY,
    *(f"tests/helper/test_{name}.py" for name in ("forged_descriptors", "malformed_messages", "who_may_look")),
    "tests/linux/test_interrupts.py",
)
"""What the kernel has a part in, by loading and unloading modules, by descriptors and signals, and by PAGEMAP_SCAN or
none (6.7): a kernel between the two has nothing of its own there. Nor has it in what keeps memory from huge pages:
where the rules have changed (settings for each size in 6.8, guards in 6.13, a prctl and read-only memory in 6.18), it
has what one of the two has. What reads entries is tested in each."""


TUTORIALS = f"{GUEST}/test_tutorials.py"
"""They take minutes, so one guest executes them: that whose tables have as many levels as those of most computers."""


def but(*without: str) -> tuple[str, ...]:
    """Return all tests but the tutorials and some others."""
    return tuple(name for name in ALL if name not in {TUTORIALS, *without})


ARM64 = (
    *(
        f"{GUEST}/test_{name}.py"
        for name in (
            *("agreement", "contiguous", "guard_regions", "hidden_frames", "hugetlb", "levels", "protection", "shell"),
            *("stap_atomic", "swap_types", "swapped_pages", "userfaultfd", "variables_of_kernels"),
        )
    ),
    EACH_WALKER,
    "tests/walkers/test_states.py",
)
"""What is another one on arm64: levels, layouts of entries, contiguous blocks, and the C code that reads and hides
entries there. All of it takes three minutes of an emulated processor that nobody else uses."""
TARGETS = "tests/targets/test_target.py"
"""Tags in addresses, which the newest kernel has, too; another size of pages is that of the kernel with larger ones."""
I386 = (
    *(
        f"{GUEST}/test_{name}.py"
        # The first three leave no module; later the helper, without eBPF, has one until all tests have ended.
        for name in ("hidden_frames", "shell", "stap_atomic", "agreement", "high_memory", "hugetlb", "swapped_pages")
    ),
    "tests/walkers/test_32_bit_processes.py",
    EACH_WALKER,
    "tests/walkers/test_states.py",
    "tests/linux/test_hardware.py",
)
"""What is another one on 32-bit x86: layouts of entries, page tables in high memory, page frames above 4 GiB."""


class Guest(NamedTuple):
    """A kernel, more words for its command line, and what is tested there."""

    kernel: str
    append: tuple[str, ...]
    tests: tuple[str, ...]
    machine: str = "x86_64"
    """As `hardware.machine` calls it."""
    cpu: str = ""
    """As QEMU calls it; else the one with all that can be emulated."""
    mib: int = 4096
    nodes: int = 2


FAST = ("mitigations=off", "init_on_alloc=0")
"""What protects a kernel costs an emulated processor more than others, and nobody attacks this one. One guest goes
without these words: it is as other computers are."""
OLDEST, MIDDLE, NEWEST = SUITES
NO_CHECK = ("no_timer_check",)
"""A kernel of 32-bit x86 panics when a busy host delays the timer at boot: "IO-APIC + timer doesn't work!"."""
MUCH = 6 << 10
"""MiB: with less, arm64 finds no piece of 1 GiB at boot, where its memory begins."""
GUESTS = {
    NEWEST: Guest(NEWEST, FAST, but()),
    OLDEST: Guest(OLDEST, FAST, but(*IN_THE_NEWEST)),
    MIDDLE: Guest(MIDDLE, FAST, but(*IN_THE_NEWEST, *IN_NEWEST_AND_OLDEST)),
    f"{NEWEST}-no5lvl": Guest(
        NEWEST,
        ("no5lvl",),
        (
            *(f"{GUEST}/test_{name}.py" for name in ("levels", "shell")),
            TUTORIALS,
            EACH_WALKER,
        ),
    ),
    # Without 52-bit addresses, which this processor has not, a kernel made for them has four levels, too.
    f"{NEWEST}-arm64-a57": Guest(
        f"{NEWEST}-arm64", FAST, (f"{GUEST}/test_levels.py", EACH_WALKER, TUTORIALS), "arm64", cpu="cortex-a57"
    ),
    f"{NEWEST}-arm64-16k": Guest(f"{NEWEST}-arm64-16k", FAST, (*ARM64, TARGETS), "arm64", mib=MUCH),
    f"{NEWEST}-arm64": Guest(f"{NEWEST}-arm64", FAST, (*ARM64, TARGETS), "arm64", mib=MUCH),
    f"{MIDDLE}-arm64": Guest(f"{MIDDLE}-arm64", FAST, ARM64, "arm64", mib=MUCH),
    f"{OLDEST}-arm64": Guest(f"{OLDEST}-arm64", FAST, ARM64, "arm64", cpu="cortex-a57", mib=MUCH),
    f"{NEWEST}-systemd": Guest(NEWEST, ("lab_init=systemd", *FAST), ("tests/vm/systemd",)),
    f"{OLDEST}-686-pae": Guest(f"{OLDEST}-686-pae", (*FAST, *NO_CHECK), I386, "x86_32", mib=5120, nodes=1),
    f"{OLDEST}-686": Guest(f"{OLDEST}-686", (*FAST, *NO_CHECK), I386, "x86_32", mib=2048, nodes=1),
    f"{NEWEST}-signed": Guest(NEWEST, ("module.sig_enforce=1", "lockdown=integrity", *FAST), ("tests/vm/signed",)),
}
"""Each kernel with 5 levels of tables, which the emulated processor has; the newest with 4, too, as most computers,
booted by systemd, and as under Secure Boot; arm64's with the processors of two decades, and with larger pages; 32-bit
x86's. Those that take longest come first, so that all end at about one time."""

APPEND = ("transparent_hugepage=madvise", "hugepagesz=1G", "hugepages=1", "hugepagesz=2M", "hugepages=32")
SCALE = 0.002
"""What is done a million times on the host is done as often times this, in a guest."""
SECONDS = 2400
"""Far more than a guest needs on a machine that has nothing else to do."""


def run(root: Root, name: str, archive: Path) -> Result:
    """Boot one of the guests, unpack the archive of the tree there, and run its tests."""
    guest = GUESTS[name]
    file = report(root, name)
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    unsteady(root, name).unlink(missing_ok=True)
    options = f"-p no:cacheprovider -p stuck -p facts --junit-xml={WORK}/reports/{name}.xml"
    # The last is again.VARIABLE, which programs beside pytest cannot import.
    variables = f"PYTHONPATH={GUEST} PTE_MAGIC_TEST_SCALE={SCALE} PTE_MAGIC_UNSTEADY={WORK}/reports/{name}.unsteady"
    pytest = f"{variables} python -m pytest {options} {' '.join(guest.tests)}"
    machine = Machine((*APPEND, *guest.append), mib=guest.mib, cpus=2, numa=guest.nodes, disks=("512M",), cpu=guest.cpu)
    return boot.boot(root, guest.kernel, unpack(archive) + pytest, machine, timeout=SECONDS)


def report(root: Root, name: str) -> Path:
    """Return where the pytest in a guest writes what it ran, in JUnit's format."""
    return root.work / "reports" / f"{name}.xml"


def unsteady(root: Root, name: str) -> Path:
    """Return where it writes which tests passed only when they were tested once more, if there are any."""
    return root.work / "reports" / f"{name}.unsteady"


def ran(report: Path) -> int:
    """Return how many tests a report knows that were not skipped."""
    suite = ET.parse(report).getroot().find("testsuite") if report.exists() else None  # noqa: S314  (it is ours)
    return 0 if suite is None else int(suite.attrib["tests"]) - int(suite.attrib["skipped"])
