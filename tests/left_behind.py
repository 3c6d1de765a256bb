"""The end of programs that tests have started, if the tests are killed and cannot end them.

PR_SET_PDEATHSIG is not enough: a helper that drops its privileges loses it, credentials(7), and a child of a child does
not have it. So all programs have a mark in their environment, and a shell waits for the end of the tests.
"""

from __future__ import annotations

import atexit
import os
import secrets
import subprocess

_SHELL = """
read -r line && exit  # they have ended by themselves
while true; do
    left=$(grep --null-data --line-regexp --files-with-matches --no-messages "$0=1" /proc/[0-9]*/environ)
    [ "$left" ] || exit  # its status tells of processes that ended meanwhile, too
    for path in $left; do
        pid=${path#/proc/}
        kill -KILL "${pid%/environ}"
    done
done
"""


def guard() -> None:
    """Have everything killed that this process starts from now on, as soon as it is killed itself."""
    mark, ours = f"PTE_MAGIC_TESTS_{secrets.token_hex(8)}", os.getpid()
    shell = subprocess.Popen(["sh", "-c", _SHELL, mark], stdin=subprocess.PIPE, start_new_session=True, cwd="/")
    os.environ[mark] = "1"

    def dismiss() -> None:
        if os.getpid() == ours:  # not a forked child
            shell.communicate(b"\n")

    atexit.register(dismiss)
