"""What a guest did, and what its kernel complained about."""

from __future__ import annotations

import re
from dataclasses import dataclass

MARK = "pte-magic-lab: the command begins"
"""Written to the kernel's log before the command: what booting an emulated machine prints is nobody's fault."""

COMPLAINT = re.compile(
    r"\bBUG\b|\bWARNING\b|\bOops\b|Call Trace|Kernel panic|general protection|[Uu]nable to handle"
    r"|scheduling while atomic|sleeping function|INFO: (rcu|task|possible|lockdep)|suspicious RCU"
    r"|soft lockup|hard LOCKUP|blocked for more than|refcount_t:|list_(add|del) corruption"
    r"|[Bb]ad (page|pte|pmd|pud|p4d|pgd|swap|rss)|Out of memory|oom-kill",
)

TAINTS = {5: "a bad page", 7: "an oops", 9: "a warning", 14: "a soft lockup"}
"""Bits of /proc/sys/kernel/tainted that no command may set (Documentation/admin-guide/tainted-kernels.rst)."""


@dataclass(frozen=True)
class Result:
    """What a guest did."""

    kernel: str
    """Release of the kernel."""
    status: int
    """Exit status of the command; -1 if there is none, and `problem` says why."""
    problem: str
    """A panic, a time-out, or a guest that vanished; else empty."""
    output: str
    """What the command printed."""
    log: str
    """What the kernel printed while the command ran; all that it printed if the command did not end."""
    complaints: tuple[str, ...]
    """The lines of that which no kernel should print."""
    seconds: float

    def report(self) -> str:
        """Say what is wrong, in lines for a person; nothing if all is well."""
        lines = [self.problem] if self.problem else []
        if self.status > 0:
            lines.append(f"exit status {self.status}")
        lines += self.complaints
        if self.problem or self.complaints:
            lines += ["The kernel's log ends with:", *self.log.splitlines()[-60:]]
        if self.problem:
            lines += ["The output ends with:", *self.output.splitlines()[-20:]]
        return f"{self.kernel}: " + "\n".join(lines) if lines else ""


def judge(kernel: str, ending: str, console: str, output: str, seconds: float) -> Result:
    """Make a result of how the guest ended ("STATUS TAINTED-BEFORE TAINTED", or why not) and of what it printed."""
    before, mark, after = console.partition(MARK)
    during = after if mark else before
    complaints = [line.strip() for line in during.splitlines() if COMPLAINT.search(line)] if mark else []
    status, problem = -1, ending
    if re.fullmatch(r"\d+ \d+ \d+", ending):
        status, tainted_before, tainted = map(int, ending.split())
        problem = ""
        new = tainted & ~tainted_before
        complaints += [f"the kernel is tainted by {what}" for bit, what in TAINTS.items() if new >> bit & 1]
        if not mark:  # then nobody has looked for complaints
            problem = f"the kernel's log does not say {MARK!r}"
    elif "Kernel panic" in during:
        problem = "the kernel panicked"
    log = after if not problem else console
    return Result(kernel, status, problem, output, log.strip(), tuple(complaints), seconds)
