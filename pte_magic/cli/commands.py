"""The commands that show page-table entries, and their options."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from pte_magic.cli.argument_parser import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.cli.argument_parser import Parser

    Add = Callable[..., Parser]

_TARGET = "an address, START-END, the name of a region in /proc/PID/maps such as [heap] or libc, or all (the default)"
_LONGEST = 1e6  # seconds between two looks, or of a wait: some days


def add(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add them to the commands of ``pte-magic``."""
    new = partial(_add, commands)
    show = new("show", "the entries of a process, or of a part of it", "show:show",
               "Show a whole process by region, the largest first, and of a part of it the page-table entries. Of one "
               "address, show its translation level by level, and the bits of its entry.")  # fmt: skip
    _in_process(show)
    show.add_argument("--entries", action="store_true", help="one row per entry, also of a whole process")
    show.add_argument(
        "-f", "--frames", action="store_true", help="add the kernel's data about each page frame, and the region"
    )
    show.add_argument("-r", "--runs", action="store_true", help="merge neighbours that differ only in their address")
    show.add_argument(
        "--tables", action="store_true", default=None, help="also show the entries that point to page tables"
    )
    _walker(show)
    _output(show)

    summary = new("summary", "entries and bytes by state and page size", "show:summary",
                  "Count the entries of a process, and the bytes that they map, by state and page size.")  # fmt: skip
    _in_process(summary)
    _walker(summary)
    _output(summary)

    why = new("why", "why memory is not on huge pages, is swapped out, or on several nodes", "why:why",
              "Check what forbids huge pages: regions, settings, pages in the way, the memory cgroup, free memory. The "
              "first line is what matters. Also say why pages are swapped out, or on several nodes, if they "
              "are.")  # fmt: skip
    _in_process(why)
    why.add_argument("--try", action="store_true", dest="collapse",
                     help="have the kernel make huge pages now (MADV_COLLAPSE), and explain its answer")  # fmt: skip
    _walker(why)
    _output(why)

    watch = new("watch", "changes while they happen, until Ctrl-C", "watch:watch",
                "Look at a process again and again, and show what has changed. A terminal shows counts and the last "
                "changes; a file or a pipe gets one line per change.")  # fmt: skip
    _in_process(watch)
    watch.add_argument("-e", "--every", metavar="SECONDS", type=_seconds, default=1.0,
                       help="seconds between two looks (default: 1)")  # fmt: skip
    _walker(watch)

    diff = new("diff", "what a command, or some seconds, changed", "diff:diff",
               "Walk a process, run a command, walk again, and show which entries changed, after all that the command "
               "writes. The exit status is the command's.",
               usage="%(prog)s [options] PID [TARGET] -- COMMAND [ARG ...]\n       "
               "%(prog)s [options] --seconds N PID [TARGET]")  # fmt: skip
    _in_process(diff)
    diff.add_argument("--seconds", metavar="N", type=_seconds, help="wait so long instead of running a command")
    _walker(diff)
    _output(diff)

    _faults(new)

    machine = new("machine", "all processes of this host", "machine:machine",
                  "Show all processes that you may look at, the largest first: their memory by page size, shared and "
                  "swapped memory, and page tables.")  # fmt: skip
    machine.add_argument("--map", action="store_true", help="show physical memory by owner; needs page frames")
    _walker(machine)
    _output(machine)

    decode = new("decode", "the meaning of a number as an entry", "decode:decode",
                 "Decode raw entries; no process is needed. Digits alone are hex, as oopses print them.")  # fmt: skip
    decode.add_argument("values", metavar="VALUE", nargs="+", help="a raw entry, such as 0x8000000153016067")
    decode.add_argument("-l", "--level", default="pte", help="pgd, p4d, pud, pmd or pte (default: pte)")
    decode.add_argument("--arch", help="the format, such as x86_64, x86_pae or arm64_16k (default: this host's)")
    decode.add_argument("--release", help="the kernel that made it, as `uname -r` prints it there (default: this one)")
    decode.add_argument("-b", "--bits", action="store_true", help="show each bit of each entry")
    _output(decode)

    doctor = new("doctor", "what you can see here, and what to type to see more", "doctor:doctor",
                 "Say which walkers work here, what each sees, and what to type where one does not work.")  # fmt: skip
    _output(doctor)

    snapshot = new("snapshot", "write the entries of processes to files", "snapshot:snapshot",
                   "Write the raw entries of whole processes to a Parquet data set, which pte_magic.load() opens. Only "
                   "you may read the files: addresses and page frames help an attacker. Needs pyarrow.")  # fmt: skip
    snapshot.add_argument("path", metavar="PATH", help="a directory, which is made; its parent must exist")
    snapshot.add_argument("pids", metavar="PID", nargs="*", default=[], help="processes, or all (the default)")
    snapshot.add_argument("--public", action="store_true", help="let the umask decide who may read the files")
    _walker(snapshot)
    _output(snapshot)


def _faults(new: Add) -> None:
    faults = new("faults", "page faults of a command, or of a process", "faults:faults",
                 "Record the page faults of a command and of the processes that it starts, or those of a process for "
                 "some seconds or until Ctrl-C: when and where memory was touched, and, with eBPF, the entry before "
                 "and the entry after. A table counts them by region and kind; --json and --csv have a row per fault. "
                 "The exit status is the command's.",
                 usage="%(prog)s [options] -- COMMAND [ARG ...]\n       %(prog)s [options] PID")  # fmt: skip
    faults.add_argument("pid", metavar="PID", nargs="?", type=pid, help="number of the process")
    faults.add_argument("--seconds", metavar="N", type=_seconds, help="record a process for so long")
    faults.add_argument("--children", action="store_true", help="also the processes that the process starts")
    faults.add_argument("-s", "--source", metavar="NAME", default="auto",
                        help="bpf, perf or rusage (default: the one that sees most here)")  # fmt: skip
    faults.add_argument("--max", metavar="N", type=_count, default=1_000_000, dest="most",
                        help="record so many faults, and count the others (default: 1000000)")  # fmt: skip
    faults.add_argument("--buffer", metavar="BYTES", type=_count, default=64 << 20,
                        help="memory for records (default: 67108864)")  # fmt: skip
    _output(faults)


def _add(  # noqa: PLR0913, PLR0917  (a row of a table)
    commands: argparse._SubParsersAction[Parser],
    name: str,
    what: str,
    function: str,
    about: str,
    usage: str | None = None,
) -> Parser:
    made = commands.add_parser(name, help=what, description=about, usage=usage)
    made.set_defaults(function=f"pte_magic.cli.{function}", parser=made)
    return made


def _in_process(command: Parser) -> None:
    command.add_argument("pid", metavar="PID", type=pid, help="number of the process")
    command.add_argument("target", metavar="TARGET", nargs="?", default="all", help=_TARGET)


def _walker(command: Parser) -> None:
    command.add_argument("-w", "--walker", metavar="NAME", default="auto",
                         help="bpf, helper, stap or pagemap (default: the one that sees most here)")  # fmt: skip


def _output(command: Parser) -> None:
    group = command.add_argument_group("output")
    group.add_argument("-a", "--all", action="store_true", help="print all rows, also of a long table")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--json", action="store_true",
                     help="one JSON object per row, a line each; addresses and entries are texts in hex")  # fmt: skip
    one.add_argument("--csv", action="store_true", help="comma-separated values, after a line with their names")
    one.add_argument("--parquet", metavar="FILE", help="write a Parquet file, and show nothing; needs pyarrow")
    group.add_argument("--color", choices=("auto", "always", "never"), default="auto",
                       help="bold headlines and set bits (auto: in a terminal, unless NO_COLOR is set)")  # fmt: skip


def pid(text: str) -> int:
    """Return the number of a process.

    Raises:
        ArgumentTypeError: It is not a number.

    """
    if not (text.isascii() and text.isdecimal()):
        message = f"{quoted(text)} is not the number of a process; `pidof NAME` prints those of a program"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        message = f"{quoted(text)} is not a number from 1 on; type one such as 1000000"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found <= _LONGEST:
        message = f"{quoted(text)} is not a number of seconds; type one above 0, such as 0.5"
        raise argparse.ArgumentTypeError(message)
    return found
