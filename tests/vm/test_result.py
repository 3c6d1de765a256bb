"""What is made of a guest's end, and of what its kernel printed."""

from __future__ import annotations

import pytest
from result import MARK, TAINTS, judge

BOOT = "[    0.1] WARNING: this emulated machine is odd\n"
MARKED = f"{BOOT}[    9.0] {MARK}\n"
FINE = """\
[   10.0] EXT4-fs (vdb): mounted filesystem
[   11.0] pte_magic_walker_77: loading out-of-tree module taints kernel.
"""
OOPS = """\
[   12.0] BUG: unable to handle page fault for address: ffffc90000a3d000
[   12.0] #PF: supervisor read access in kernel mode
[   12.0] Oops: Oops: 0000 [#1] SMP PTI
[   12.0] RIP: 0010:pte_magic_step+0x1f2/0x4a0 [pte_magic_walker_77]
[   12.0] Call Trace:
[   12.0]  <TASK>
"""


@pytest.mark.parametrize(("status", "report"), [(0, ""), (3, "7.2: exit status 3")])
def test_how_a_command_ended(status: int, report: str) -> None:
    result = judge("7.2", f"{status} 4096 4096", MARKED + FINE, "printed\n", 9)
    assert (result.status, result.problem, result.complaints, result.output) == (status, "", (), "printed\n")
    assert result.log == FINE.strip()
    assert result.report() == report


def test_an_oops_is_complained_about_and_shown() -> None:
    result = judge("7.2", "0 4096 4224", MARKED + FINE + OOPS, "", 9)
    assert [line.partition("] ")[2] for line in result.complaints[:3]] == [
        "BUG: unable to handle page fault for address: ffffc90000a3d000",
        "Oops: Oops: 0000 [#1] SMP PTI",
        "Call Trace:",
    ]
    assert result.complaints[3] == "the kernel is tainted by an oops"
    assert "RIP: 0010:pte_magic_step" in result.report()


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: CPU: 0 PID: 99 at mm/memory.c:1 zap+0x1/0x2",
        "BUG: sleeping function called from invalid context at kernel/locking/rwsem.c:1521",
        "BUG: scheduling while atomic: python/99/0x00000002",
        "BUG: Bad page map in process python  pte:8000000153016067 pmd:12345067",
        "BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 23s! [python:99]",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "INFO: task python:99 blocked for more than 120 seconds.",
        "INFO: possible recursive locking detected",
        "refcount_t: underflow; use-after-free.",
        "list_del corruption, ffff88 was not as it should be",
        "general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1]",
        "Out of memory: Killed process 99 (python)",
    ],
)
def test_what_no_kernel_should_print(line: str) -> None:
    result = judge("7.2", "0 0 0", f"{MARKED}{FINE}[   13.0] {line}\n{FINE}", "", 9)
    assert result.complaints == (f"[   13.0] {line}",)
    assert line in result.report()


@pytest.mark.parametrize("bit", TAINTS)
def test_a_taint_is_told_of_if_it_is_new(bit: int) -> None:
    assert judge("7.2", f"0 0 {1 << bit}", MARKED, "", 9).complaints == (f"the kernel is tainted by {TAINTS[bit]}",)
    assert judge("7.2", f"0 {1 << bit} {1 << bit}", MARKED, "", 9).complaints == ()
    assert judge("7.2", "0 0 0", f"{BOOT}{MARK}", "", 9).report() == ""  # nothing was printed since
    assert judge("7.2", f"0 0 {1 << 12 | 1 << 13}", MARKED, "", 9).report() == ""  # modules of our own, not signed


@pytest.mark.parametrize("console", ["", BOOT, BOOT + OOPS])
def test_a_log_without_the_mark_is_a_problem(console: str) -> None:
    result = judge("7.2", "0 0 0", console, "", 9)
    assert MARK in result.problem
    assert result.report()


@pytest.mark.parametrize(
    ("ending", "console", "problem"),
    [
        ("not started after 180 s", BOOT, "not started after 180 s"),
        ("the guest vanished", MARKED + FINE, "the guest vanished"),
        ("the guest vanished", f"{MARKED}[   14.0] Kernel panic - not syncing: Fatal exception", "the kernel panicked"),
        ("the guest vanished", f"{BOOT}[    1.0] Kernel panic - not syncing: VFS", "the kernel panicked"),
    ],
)
def test_a_guest_without_an_end(ending: str, console: str, problem: str) -> None:
    result = judge("7.2", ending, console, "last words\n", 9)
    assert (result.status, result.problem) == (-1, problem)
    assert "last words" in result.report()
    assert BOOT.strip() in result.report()  # all of the log
