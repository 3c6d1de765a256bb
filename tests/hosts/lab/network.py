"""A network of hosts, each a process in namespaces of its own: its name, its network, its processes.

Only for a process whose own network namespace has nothing in it yet: see ``test_hosts.py``.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from waiting import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = 5 * SECONDS
"""For what imports much before it answers."""

ADDRESS = "10.0.0.1"
"""Where the hosts find this process."""

NETWORK = f"""
ip link set lo up
ip link add hosts type bridge
ip address add {ADDRESS}/24 dev hosts
ip link set hosts up
"""

# The pair's other end is with this process, the parent, whose pid is known as long as its /proc is.
HOST = """
hostname "$1"
ip link add eth0 type veth peer name "$1" netns "$PPID"
ip address add "$2/24" dev eth0
ip link set lo up
ip link set eth0 up
nsenter --net="/proc/$PPID/ns/net" ip link set "$1" master hosts up
shift 2
exec unshare --mount --pid --fork --kill-child --mount-proc -- sh -c '"$@"; exec sleep infinity' sh "$@"
"""

_numbers = itertools.count(2)


def make() -> None:
    """Make the network, with this process alone in it."""
    subprocess.run(["sh", "-ec", NETWORK], check=True)


@contextmanager
def host(name: str, *command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on a host of this name, which outlives it and is gone when the block ends; it prints to a file."""
    address = f"10.0.0.{next(_numbers)}"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            ["unshare", "--net", "--uts", "--", "sh", "-ec", HOST, "sh", name, address, *command],
            stdout=file,
            stderr=file,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(SECONDS)
