"""The ``%%stap`` cells that guests run. Their modules are compiled outside, where that takes seconds, not minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pte_magic.notebook.stap_cell import request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pte_magic.systemtap.script import Script


class Cell(NamedTuple):
    """A cell, and the variables of Python without whose values it cannot be compiled.

    Numbers in handlers are not among these: they are put in when the module is loaded, so any will do for compiling.
    """

    line: str
    text: str
    names: dict[str, Any]

    def typed(self, options: str = "") -> str:
        """Return what a person types, with more options."""
        return f"%%stap {options} {self.line}\n{self.text}"

    def script(self) -> Script:
        asked = request(self.line, self.text, self.names)
        assert asked
        return asked.script


COUNT = Cell(
    "",
    """\
global n
probe begin { printf("target %d\\n", target()) }
probe timer.ms(100) {
  printf("%d\\n", ++n)
  if (n == $times) exit()
}
probe end { println("the end") }
""",
    {"times": 0},
)

# 71 bytes a line; without a line that nobody wrote, the numbers show that none was lost.
FLOOD = Cell(
    "-D STP_NO_OVERLOAD -DMAXACTION=10000 -DMAXSKIPPED=1000000",
    """\
global n
probe timer.ms(10) {
  for (i = 0; i < 400; i++) {
    printf("%10d %60s\\n%10d %60s\\n", n, "", n + 1, "")
    n += 2
  }
  if (n * 72 > $mib * 1048576) exit()
}
probe end { println("the end") }
""",
    {"mib": 0},
)

DIVIDE = Cell(
    "",
    """\
function share(all) {
  return all / $parts
}
probe begin {
  warn("careful")
  println("before")
  printf("%d\\n", share(12))
  exit()
}
probe end { println("the end") }
""",
    {"parts": 0},
)

TABLE = Cell(
    '--table -- 7 "two words" $given',
    """\
probe begin {
  println("number address name")
  printf("%d 0x%x %s\\n", $1, -1, @2)
  printf("%d 0x%x %s\\n", -$3, 4096, execname())
  exit()
}
""",
    {"given": 5},
)

VALUES = Cell(
    "",
    """\
probe begin {
  printf("%d %d %d %d\\n", $small, $large, $most, $truth)
  printf("%d %s %d\\n", $array, $text, strlen($text))
  system("sleep 30 &")
  exit()
}
""",
    {"small": 0, "large": 0, "most": 0, "truth": 0, "array": 0, "text": 'a "quoted"\n\\text of größe 7\t%d'},
)

GURU = Cell(
    "-g",
    """\
%{
#include <linux/sched.h>
%}
function own_name:string (add:string) %{ /* pure */
  snprintf(STAP_RETVALUE, MAXSTRINGLEN, "%s%s", current->comm, STAP_ARG_add);
%}
probe begin { println(own_name("!")); exit() }
""",
    {},
)

INCLUDE = Cell(
    f"-I {Path(__file__).parent / 'tapset'}",
    """\
probe begin { println(answer($question)); exit() }
""",
    {"question": 0},
)

ENTRY = Cell(
    "--table",
    """\
probe begin {
  task = pid2task(target())
  println("entry level size present frame flags")
  for (i = 0; i < $pages; i++) {
    entry = pte_of(task, $address + i * 4096)
    size = pte_size(task, $address + i * 4096)
    printf("0x%x %s %d %d %d %s\\n", entry, pte_level(task, $address + i * 4096), size, pte_present(entry),
           pte_frame(entry, size), pte_flags_str(entry))
  }
  exit()
}
""",
    {"address": 0, "pages": 0},
)

FAULTS = Cell(
    "",
    """\
probe begin { println("address error entry before") }
probe kernel.trace("exceptions:page_fault_user") {
  address = @var("address")
  if (pid() == target() && address >= $first && address < $end)
    printf("0x%x %d 0x%x 0x%x\\n", address, $error_code, pte_of(task_current(), address),
           pte_of(task_current(), address - 4096))
}
""",
    {"first": 0, "end": 0},
)

ATOMIC = Cell(
    "--table -D MAXSKIPPED=1000000 -D STP_NO_OVERLOAD",
    """\
global task, thread, own, other, timer, refused, wrong
probe begin {  // pid2task() itself is not for interrupts
  task = pid2task(target())
  thread = pid2task(2)
}
probe perf.type(1).config(3).sample(1) {  // each switch of tasks, within the scheduler
  entry = pte_of(task, $address)
  if (entry == -1) refused++
  else if (task != task_current()) wrong++
  else if (pte_present(entry)) own++
  else wrong++
}
probe timer.ms(1) {
  entry = pte_of(task, $address)
  if (entry == -1) refused++
  else if (pte_present(entry)) timer++
  else wrong++
  if (pte_size(task, $address + 4096) != 0) other++
  if (pte_of(thread, $address) != -1 || pte_level(thread, $address) != "") wrong++
}
probe end {
  println("own other timer refused wrong")
  printf("%d %d %d %d %d\\n", own, other, timer, refused, wrong)
}
""",
    {"address": 0},
)
"""It counts by ``++``: the same with ``<<<``, SystemTap's statistics, takes not six seconds to compile but 160.

The kernel's own event of a switch (PERF_COUNT_SW_CONTEXT_SWITCHES) comes where its tracepoint `sched_switch` does, with
interrupts off and the lock of the run queue taken (`prepare_task_switch`). To find a tracepoint, stap would first
compile something for each header that has some, which takes 160 seconds for a kernel.
"""

ATOMIC_ELSEWHERE = Cell(f"-g {ATOMIC.line}", ATOMIC.text, ATOMIC.names)
"""The same for kernels of other machines: all that is compiled for these has ``-g``, for the reason at `FEW`."""

NUMBER = Cell(
    "-o printed",
    'probe begin { printf("%d\\n", $number) exit() }\n',
    {"number": 0},
)  # for the benchmark

FEW = (COUNT, ATOMIC)
"""Those of tests that run in each kernel of x86-64.

They are without ``-g``, as the newest kernel's other cells: what stap finds out about a kernel is kept for scripts with
``-g`` and for others apart.
"""
OTHERS = (ATOMIC_ELSEWHERE,)
"""Those of tests that run in each kernel of other machines, where nothing can be compiled: stap is not there.

They are with ``-g``, as all else that is compiled for these, for the same reason.
"""
ALL = (NUMBER, COUNT, FLOOD, DIVIDE, TABLE, VALUES, GURU, INCLUDE, ENTRY, FAULTS, ATOMIC)


def scripts(cells: Iterable[Cell] = ALL) -> list[Script]:
    """Return what has to be compiled for them."""
    return [cell.script() for cell in cells]
