"""perf_event_open(2) for software events: open, enable, attach, and count."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path

from pte_magic.linux import kernel_text, system_calls

PAGE_FAULTS, PAGE_FAULTS_MIN, PAGE_FAULTS_MAJ = 2, 5, 6
"""enum perf_sw_ids: a fault begins (all of them); it has ended, as a minor or as a major one."""

# struct perf_event_attr, as long as PERF_ATTR_SIZE_VER5: type, size, config, sample_period, sample_type, read_format,
# flags, wakeup_events, bp_type, config1, config2, branch_sample_type, sample_regs_user, sample_stack_user, clockid, and
# what later versions added, which is 0.
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQQQQIi16x")
_SOFTWARE = 1
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _ENABLE_ON_EXEC, _USE_CLOCK = 1 << 0, 1 << 1, 1 << 5, 1 << 12, 1 << 25
_INHERIT_THREAD = 1 << 35  # children are followed only if they are threads: since 5.13, 2b26f0aa004995
_CLOCK_MONOTONIC = 1
_CLOSE_ON_EXEC = 8
_ENABLE, _DISABLE, _SET_OUTPUT, _SET_BPF = 0x2400, 0x2401, 0x2405, 0x40042408
_COUNT = struct.Struct("=Q")

IP, TID, TIME, ADDR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
"""enum perf_event_sample_format."""


def paranoid() -> int | None:
    """Return ``kernel.perf_event_paranoid``; None if the kernel has no perf events."""
    try:
        return int(kernel_text.text("/proc/sys/kernel/perf_event_paranoid"))
    except OSError:
        return None


def processors() -> list[int]:
    """Return the processors that are online.

    Raises:
        OSError: sysfs is not mounted.

    """
    found: list[int] = []
    for part in kernel_text.text(Path("/sys/devices/system/cpu/online")).split(","):
        first, _, last = part.strip().partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def open_event(  # noqa: PLR0913  (the kernel's, by name)
    event: int,
    pid: int,
    cpu: int,
    *,
    sample: int = 0,
    inherit: bool = False,
    children: bool = False,
    user_only: bool = False,
    from_exec: bool = False,
) -> int:
    """Return the descriptor of an event that is counted each time, and not yet enabled; its clock is CLOCK_MONOTONIC.

    Args:
        event: Such as `PAGE_FAULTS`.
        pid: A thread; -1 for all.
        cpu: A processor; -1 for all.
        sample: The contents of a record, such as ``IP | TID``; 0 for no records.
        inherit: Follow the threads that this one starts.
        children: Follow the processes that it starts, too.
        user_only: Leave out what happens in the kernel.
        from_exec: Enable it when the thread calls execve(2).

    Raises:
        OSError: As of perf_event_open(2).

    """
    flags = _DISABLED | _USE_CLOCK
    flags |= _INHERIT * inherit | _INHERIT_THREAD * (inherit and not children)
    flags |= _EXCLUDE_KERNEL * user_only | _ENABLE_ON_EXEC * from_exec
    size = _ATTRIBUTES.size
    packed = _ATTRIBUTES.pack(_SOFTWARE, size, event, 1, sample, 0, flags, 0, 0, 0, 0, 0, 0, 0, _CLOCK_MONOTONIC)
    memory = ctypes.create_string_buffer(packed, size)
    return system_calls.call("perf_event_open", ctypes.addressof(memory), pid, cpu, -1, _CLOSE_ON_EXEC)


def enable(fd: int) -> None:
    """Begin to count, and to sample."""
    fcntl.ioctl(fd, _ENABLE, 0)


def disable(fd: int) -> None:
    """End that; the events of threads that inherited this one end, too."""
    fcntl.ioctl(fd, _DISABLE, 0)


def output_to(fd: int, other: int) -> None:
    """Write the records of an event into the ring buffer of another one of the same processor."""
    fcntl.ioctl(fd, _SET_OUTPUT, other)


def attach(fd: int, program: int) -> None:
    """Run an eBPF program, by its descriptor, each time.

    Raises:
        OSError: The kernel refused it.

    """
    fcntl.ioctl(fd, _SET_BPF, program)


def count(fd: int) -> int:
    """Return how often it happened, with threads that inherited the event."""
    found: int = _COUNT.unpack(os.read(fd, _COUNT.size))[0]
    return found
