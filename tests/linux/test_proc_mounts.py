"""Other mounts of /proc: of another pid namespace, with processes only, hiding those of others, and none at all."""

from __future__ import annotations

import json
import pwd

from conftest import NOBODY, needs_root, python

from pte_magic.helper.privileges import NO_THREADS
from pte_magic.linux import hardware

pytestmark = needs_root

SUBSET = ("unshare", "--mount", "sh", "-c", 'mount -t proc -o subset=pid proc /proc && exec "$@"', "sh")
NONE = ("unshare", "--mount", "sh", "-c", 'umount --lazy --recursive /proc && exec "$@"', "sh")
HIDING = ("unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh")
FOREIGN = ("unshare", "--pid", "--fork")

START = """
import json, os, tempfile, warnings
import numpy as np
import pte_magic
from pte_magic.linux.address_space import AddressSpace, own
a = np.ones(50_000)
def said(do):
    try:
        return do()
    except pte_magic.PteMagicError as error:
        return f"{type(error).__name__}: {error}"
def free():
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    return fd
"""


def test_pids_of_another_namespace_are_those_of_proc_and_it_is_said_once() -> None:
    code = """
with warnings.catch_warnings(record=True) as caught, tempfile.TemporaryDirectory() as directory:
    warnings.simplefilter("always")
    mine, told = os.getpid(), int(os.readlink("/proc/self"))
    found = pte_magic.walk(a)
    again = pte_magic.walk(a, pid=told)
    init = said(lambda: pte_magic.walk(a, pid=1))
    denied = isinstance(init, str) and init.startswith("AccessDeniedError: pid 1")
    is_other = denied or not init["entry"].equals(found["entry"])
    table = pte_magic.machine()
    saved = pte_magic.snapshot(directory)
    regions = set(found.frames()["region"].isna())
    nobody = said(lambda: AddressSpace(1 << 22))
print(json.dumps([mine, told, found["pid"].unique().tolist(), again["pid"].unique().tolist(),
    bool(again["entry"].equals(found["entry"])), is_other, told in set(table["pid"]), saved.index.tolist(),
    list(regions), nobody, [str(one.message) for one in caught], own().pid]))
"""
    *found, nobody, warned, own = json.loads(python(START + code, *FOREIGN))
    mine, told = found[:2]
    assert mine == 1 != told
    assert found[2:] == [[told], [told], True, True, True, [told], [False]]
    assert nobody.startswith("NoSuchProcessError")
    (warning,) = warned
    assert f"pid 1, is {told}" in warning
    assert "mount -t proc" in warning
    assert len(warning.splitlines()) == 1
    assert own == told


def test_a_proc_of_its_own_has_its_own_pids_without_a_word() -> None:
    code = """print(os.getpid(), set(pte_magic.walk(a)["pid"]), set(pte_magic.walk(a, pid=1)["pid"]))"""
    assert python(START + code, "unshare", "--pid", "--fork", "--mount-proc") == "1 {1} {1}"


def test_who_has_one_thread_has_one_in_any_namespace() -> None:
    code = "from pte_magic.helper.privileges import have_one_thread; have_one_thread(); print('one')"
    words = [f"{name}={value}" for name, value in NO_THREADS.items()]
    assert python(code, "env", *words, *FOREIGN) == "one"


def test_without_proc_everything_says_so_in_one_line_and_leaves_nothing() -> None:
    code = """
directory = "/tmp/pte-magic-nothing"
before = free()
found = [said(do) for do in (
    lambda: pte_magic.walk(a), lambda: pte_magic.walk("[heap]"), lambda: pte_magic.walk(a, pid=1), pte_magic.machine,
    pte_magic.doctor, lambda: pte_magic.entries(a), lambda: next(pte_magic.stream(a)), lambda: pte_magic.watch(a),
    lambda: pte_magic.snapshot(directory), lambda: pte_magic.snapshot(directory, "all"),
)]
print(json.dumps([found, free() == before, os.path.exists(directory)]))
"""
    found, closed, exists = json.loads(python(START + code, *NONE))
    for said in found:
        assert said.startswith("NoProcError: /proc is not mounted"), found
        assert "mount -t proc proc /proc" in said
        assert len(said.splitlines()) == 1
    assert closed
    assert not exists


def test_without_proc_nobody_is_served_and_that_is_one_line() -> None:
    code = "import sys; from pte_magic.cli import main; sys.stderr = sys.stdout; print(main(['serve']))"
    said, status = python(code, *NONE).splitlines()
    assert said.startswith("pte-magic: /proc is not mounted")
    assert status == "1"


def test_a_proc_that_has_only_processes_is_enough_for_the_walker_that_needs_no_rights() -> None:
    code = """
before = free()
found = pte_magic.walk(a)
fd = os.open("/proc/self/pagemap", os.O_RDONLY)
words = np.frombuffer(os.pread(fd, len(found) * 8, int(found["vaddr"].iloc[0]) // 4096 * 8), np.uint64)
os.close(fd)
told = [said(lambda: str(pte_magic.walk(a, walker=name))) for name in ("bpf", "stap")]
table = pte_magic.machine()
with tempfile.TemporaryDirectory() as directory:
    rows = int(pte_magic.snapshot(directory)["rows"].iloc[0])
print(json.dumps([found["walker"].unique().tolist(), found["pfn"].tolist(), (words & np.uint64((1 << 55) - 1)).tolist(),
    told, os.getpid() in set(table["pid"]), rows > len(found), len(pte_magic.doctor()), said(table.map),
    free() - before, pte_magic.decode(0x25)["state"].tolist()]))
"""
    walker, frames, expected, told, is_there, whole, walkers, picture, left, decoded = json.loads(
        python(START + code, *SUBSET)
    )
    assert walker == ["pagemap"]
    assert frames == expected
    for said in told:
        assert said.startswith("WalkerUnavailableError")
        assert len(said.splitlines()) == 1
    assert is_there
    assert whole
    assert walkers == 4
    assert picture.startswith("TargetError: ")
    assert left <= 2  # descriptors of own(), which is kept
    assert decoded == ["present"]


def test_a_proc_that_hides_others_shows_ones_own() -> None:
    code = """
table = pte_magic.machine()
print(set(table["user"]), os.getpid() in set(table["pid"]), set(pte_magic.walk(a)["state"]))
print(said(lambda: pte_magic.walk(a, pid=os.getppid())))
"""
    seen, parent = python(START + code, *HIDING, user=NOBODY).splitlines()
    assert seen == f"{{{pwd.getpwuid(NOBODY).pw_name!r}}} True {{'present'}}"
    assert parent.startswith("NoSuchProcessError: pid ")


def test_hosts_and_levels_do_not_depend_on_the_mount() -> None:
    code = "from pte_magic.linux import hardware; print(hardware.levels(), hardware.encoding(), hardware.host())"
    assert python(code, *SUBSET) == f"{hardware.levels()} {hardware.encoding()} {hardware.host()}"
