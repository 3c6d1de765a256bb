"""A notebook in a container: namespaces of its own, and of the machine nothing but the socket's directory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from conftest import NOBODY, needs_root

if TYPE_CHECKING:
    from serving import Helper

pytestmark = needs_root

# What is mounted before the process becomes nobody; then it makes user and pid namespaces of its own, as rootless
# containers do, in which it is root and a /proc shows its own processes only.
CONTAINER = """
import os, subprocess, sys
path, python, code = sys.argv[1:]
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
os.mkdir("/run/pte-magic")
subprocess.run(["mount", "--bind", os.path.dirname(path), "/run/pte-magic"], check=True)
os.setgroups([])
os.setgid({user})
os.setuid({user})
flags = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--net", "--ipc", "--uts", "--kill-child"]
os.execvp("unshare", ["unshare", *flags, python, "-c", code])
"""

NOTEBOOK = """
import json, os
os.environ["PTE_MAGIC_SOCKET"] = "/run/pte-magic/socket"
import numpy as np
import pte_magic
from pte_magic.errors import NoSuchProcessError
from pte_magic.workloads import private_mapping
array = private_mapping(4)
array[:2] = 1
frame = pte_magic.walk(array, walker="helper")
here = [name for name in os.listdir("/proc") if name.isdecimal()]
outside = None
try:
    pte_magic.walk("[stack]", pid={outside}, walker="helper")
except NoSuchProcessError as error:
    outside = str(error)
print(json.dumps({{
    "pids": here,
    "pid": os.getpid(),
    "uid": os.getuid(),
    "walker": str(frame["walker"].iloc[0]),
    "present": [int(entry) & 1 for entry in frame["entry"]],
    "frames": int(frame["pfn"].notna().sum()),
    "outside": outside,
    "auto": str(pte_magic.walk(array)["walker"].iloc[0]),
}}))
"""


def test_it_sees_its_own_pages_and_cannot_even_name_another_s(served: Helper) -> None:
    with subprocess.Popen(["sleep", "600"]) as outside:
        try:
            container, notebook = CONTAINER.format(user=NOBODY), NOTEBOOK.format(outside=outside.pid)
            command = ["unshare", "--mount", sys.executable, "-c", container]
            done = subprocess.run(
                [*command, str(served.path), sys.executable, notebook],
                capture_output=True, text=True, timeout=300, check=False, cwd="/",
            )  # fmt: skip
        finally:
            outside.kill()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["pids"] == [str(told["pid"])] == ["1"]
    assert told["uid"] == 0  # within
    assert (told["walker"], told["auto"]) == ("helper", "helper")
    assert told["present"] == [1, 1, 0, 0]
    assert told["frames"] == 0
    assert told["outside"].startswith(f"pid {outside.pid}: no such process")
    logged = served.requests()[-1]
    assert (logged["uid"], logged["status"]) == (str(NOBODY), "OK")
