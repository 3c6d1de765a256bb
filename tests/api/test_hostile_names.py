"""Names that processes, files, groups, users and machines gave themselves: any bytes, also such as would deceive."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import re
import subprocess
import sys
import unicodedata
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from conftest import NOBODY, Child, forked, needs_root, python
from groups import memory_group
from handmade import ANONYMOUS, PAGE, READ, SHARED, WRITE, NewMap, libc, write
from shells import Shell

import pte_magic
from pte_magic import errors
from pte_magic.errors import TargetError
from pte_magic.linux import memory_cgroups
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.notebook.before_after import Around
from pte_magic.targets import target as targets
from pte_magic.targets.named_target import Named
from pte_magic.targets.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

libc.sbrk.restype = ctypes.c_size_t

PR_SET_NAME = 15  # linux/prctl.h
FORGED = b"\n000000001000-000000002000 rw-p 00000000 00:00 0                          [heap]"
NAMES = {
    "приложение-сервер".encode()[:15]: r"приложе\xd0",
    b"\xff\xfe": r"\xff\xfe",
    b"vt\x0bName:\tzz": r"vt\x0bName:\tzz",
    b"a\nName:\tb": r"a\nName:\tb",
    rb"a\nb\\c\012": r"a\nb\\c\012",
    b"\x1b[31mred\x07\x7f": r"\x1b[31mred\x07\x7f",
    "\x85nel\x9b".encode(): r"\x85nel\x9b",
    "\u2028ls\u202e".encode(): r"\u2028ls\u202e",
    b"x) Z 2 3 (": "x) Z 2 3 (",
    b"<b onclick=1>&": "<b onclick=1>&",
    b" around ": " around ",
    b"": "",
}
"""Names of processes, and how they are shown."""
FILES = {
    "приложение".encode()[:-1]: r"приложени\xd0",
    b"\xff\xfe.so": r"\xff\xfe.so",
    b"lf" + FORGED: r"lf\n000000001000-000000002000 rw-p 00000000 00:00 0                          [heap]",
    FORGED.replace(
        b"\n", b"\x0b"
    ): r"\x0b000000001000-000000002000 rw-p 00000000 00:00 0                          [heap]",
    FORGED.replace(
        b"\n", "\u2028".encode()
    ): r"\u2028000000001000-000000002000 rw-p 00000000 00:00 0                          [heap]",
    FORGED.replace(
        b"\n", "\x85".encode()
    ): r"\x85000000001000-000000002000 rw-p 00000000 00:00 0                          [heap]",
    b"\x1b]0;title\x07": r"\x1b]0;title\x07",
    rb"line\012feed": r"line\012feed",
    b"line\nfeed": r"line\nfeed",
    b"[heap]": "[heap]",
    b"heap": "heap",
    b" a  b ": " a  b ",
    b"\xe2\x80\xaegpj.exe": r"\u202egpj.exe",
    b"real (deleted)": "real (deleted)",
}
"""Names of files, and how they are shown."""


def unseen(text: str) -> list[str]:
    """Return the characters that could act on a terminal or a page; line feeds of a table are none."""
    return [
        letter for letter in text if letter != "\n" and unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]


def entries_of(name: bytes) -> tuple[tuple[int, int], ...]:
    """Return where the regions are whose sixth field in maps is `name`, byte by byte."""
    fields = [line.split(None, 5) for line in Path("/proc/self/maps").read_bytes().split(b"\n") if line]
    found = [field[0].split(b"-") for field in fields if field[5:] == [name]]
    return tuple((int(start, 16), int(end, 16)) for start, end in found)


def in_map_files(start: int, pid: str | int = "self") -> bytes:
    """Return what the kernel calls the file of a region that begins at an address, as it is."""
    place = b"/proc/%s/map_files" % str(pid).encode()
    (name,) = (name for name in os.listdir(place) if int(name.split(b"-")[0], 16) == start)  # noqa: PTH208  (bytes)
    return os.readlink(place + b"/" + name)  # noqa: PTH115  (bytes)


def ranges(text: str, space: AddressSpace | None = None) -> tuple[tuple[int, int], ...]:
    found = targets.parse(text, space or own())
    return found.ranges if found else ()


@contextmanager
def called(*names: bytes) -> Iterator[list[Child]]:
    """Fork a child for each name, which calls itself so."""
    with ExitStack() as stack:
        children = [stack.enter_context(forked(partial(_call_oneself, name))) for name in names]
        for child, name in zip(children, names, strict=True):
            child.step()
            assert Path(f"/proc/{child.pid}/comm").read_bytes() == name + b"\n"
        yield children


def _call_oneself(name: bytes) -> None:
    libc.prctl(PR_SET_NAME, ctypes.c_char_p(name), 0, 0, 0)


def mapped(new_map: NewMap, path: bytes, size: int = PAGE) -> int:
    """Make a file, and map it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.truncate(fd, size)
        return new_map(size, READ | WRITE, SHARED, fd)
    finally:
        os.close(fd)


def test_names_of_processes_are_shown_as_they_are(tmp_path: Path) -> None:
    with called(*NAMES) as children:
        found = pte_magic.machine().set_index("pid", drop=False)
        mine = found.loc[[child.pid for child in children]]
        assert mine["name"].tolist() == list(NAMES.values())
        assert [AddressSpace(child.pid).status()["Name"] for child in children] == list(NAMES.values())
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(mine)), mine)  # noqa: S301  (our own)
    mine.to_parquet(tmp_path / "a.parquet")
    assert pd.read_parquet(tmp_path / "a.parquet")["name"].tolist() == list(NAMES.values())
    mine.to_csv(tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv", keep_default_na=False)["name"].tolist() == list(NAMES.values())
    assert [row["name"] for row in json.loads(mine.to_json(orient="records"))] == list(NAMES.values())
    for shown in (repr(mine), mine._repr_html_() or "", repr(mine["name"]), repr(mine.groupby("name")["pss"].sum())):
        assert unseen(shown) == []
    assert all(name in repr(mine) for name in NAMES.values())
    assert "<b onclick" not in (mine._repr_html_() or "")


@needs_root
def test_names_in_the_picture_of_physical_memory_are_harmless() -> None:
    with called(b"\x1b[31m\xff\x85") as (child,):
        found = pte_magic.machine()
        picture = found[found["pid"] == child.pid].map()
    assert rf"\x1b[31m\xff\x85 (pid {child.pid})" in picture.text()
    assert unseen(picture.text()) == unseen(picture.html()) == []
    assert unseen(json.dumps(picture.get_state()["layer"]["legend"], ensure_ascii=False)) == []


@needs_root
def test_doctor_and_all_else_work_for_who_has_such_a_name() -> None:
    code = """
import ctypes, numpy
ctypes.CDLL(None).prctl(15, b"\\xd0\\x0b\\xff", 0, 0, 0)
a = numpy.ones(5000)
assert len(pte_magic.doctor()) == 4
found = pte_magic.walk(a).frames()
mine = pte_magic.machine().set_index("pid").loc[os.getpid()]
print(mine["name"], set(found["pid"]) == {os.getpid()})
"""
    assert python(code, user=NOBODY) == r"\xd0\x0b\xff True"


@pytest.mark.parametrize("name", FILES, ids=[str(at) for at in range(len(FILES))])
def test_files_are_found_by_their_names_and_by_no_other(new_map: NewMap, tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    address = mapped(new_map, path)
    write(address)
    found = {region.start: region for region in own().regions()}
    assert in_map_files(address) == path
    assert found[address].path == path
    assert found[address].name == f"{tmp_path}/{FILES[name]}"
    before = libc.sbrk(0)
    heap = (*ranges("[heap]"), *ranges("heap"))
    top = max(before, libc.sbrk(0))  # what is freed meanwhile may make it smaller
    for start, end in heap:
        assert entries_of(b"[heap]")[0][0] <= start < end <= top
    assert 0x1000 not in found  # what FORGED says, where vm.mmap_min_addr lets nobody map anything
    here = ((address, address + PAGE),)
    for typed in (os.fsdecode(path), os.fsdecode(name), f"{tmp_path}/{FILES[name]}"):
        if typed not in {"[heap]", "heap"}:
            assert ranges(typed) == here
    table = pte_magic.walk(address, address + PAGE).frames()
    assert table["region"].tolist() == [f"{tmp_path}/{FILES[name]}"]
    assert unseen(repr(table)) == unseen(table._repr_html_() or "") == []
    table.to_parquet(tmp_path / "frame.parquet")
    assert pd.read_parquet(tmp_path / "frame.parquet")["region"].tolist() == table["region"].tolist()
    (offered,) = (word for word in targets.region_names(own()) if word == FILES[name])
    assert unseen(offered) == []
    assert unseen(str(targets.unknown("nothing\x1b", own()))) == []


def test_bytes_go_before_what_is_shown(new_map: NewMap, tmp_path: Path) -> None:
    plain, hostile = (mapped(new_map, os.fsencode(tmp_path) + b"/" + name) for name in (rb"a\x1b", b"a\x1b"))
    assert ranges(rf"{tmp_path}/a\x1b") == ((plain, plain + PAGE),)
    assert ranges(f"{tmp_path}/a\x1b") == ((hostile, hostile + PAGE),)


def test_a_line_feed_in_a_name_is_told_from_the_escape_for_it(new_map: NewMap, tmp_path: Path) -> None:
    one, other = (mapped(new_map, os.fsencode(tmp_path) + b"/" + name) for name in (rb"a\012b", b"a\nb"))
    paths = {region.start: region.path for region in own().regions()}
    assert paths[one] == in_map_files(one) != paths[other] == in_map_files(other)
    assert ranges(rf"{tmp_path}/a\012b") == ((one, one + PAGE),)
    assert ranges(f"{tmp_path}/a\nb") == ((other, other + PAGE),)


def test_a_deleted_file_keeps_its_name(new_map: NewMap, tmp_path: Path) -> None:
    path = tmp_path / "gone.so.1"
    address = mapped(new_map, bytes(path))
    assert ranges(str(path)) == ((address, address + PAGE),)
    path.unlink()
    assert in_map_files(address) == bytes(path) + b" (deleted)"
    for typed in (str(path), path.name, "gone", f"{path} (deleted)"):
        assert ranges(typed) == ((address, address + PAGE),), typed
    assert path.name in targets.region_names(own())


def test_a_file_that_is_called_deleted_is_not(new_map: NewMap, tmp_path: Path) -> None:
    path = tmp_path / "x (deleted)"
    address = mapped(new_map, bytes(path))
    assert ranges(str(path)) == ranges(path.name) == ((address, address + PAGE),)
    assert ranges(str(tmp_path / "x")) == ()
    linked = mapped(new_map, bytes(tmp_path / "x"))
    assert ranges(str(tmp_path / "x")) == ((linked, linked + PAGE),)
    (tmp_path / "x").unlink()  # both have one name now, and different inodes
    assert in_map_files(address) == in_map_files(linked)
    assert ranges(str(tmp_path / "x")) == ((linked, linked + PAGE),)
    path.unlink()
    assert in_map_files(address) == bytes(path) + b" (deleted)"
    assert ranges(str(path)) == tuple(sorted([(address, address + PAGE), (linked, linked + PAGE)]))
    path.write_bytes(b"another file")
    assert (address, address + PAGE) in ranges(str(path))


@needs_root
def test_of_another_process_too(new_map: NewMap, tmp_path: Path) -> None:
    address = mapped(new_map, bytes(tmp_path / "mine\x1b"))
    (tmp_path / "mine\x1b").unlink()
    with forked() as child, AddressSpace(child.pid) as space:
        assert in_map_files(address, child.pid) == bytes(tmp_path / "mine\x1b") + b" (deleted)"
        assert ranges(f"{tmp_path}/mine\x1b", space) == ranges("mine\\x1b", space) == ((address, address + PAGE),)


@needs_root
def test_of_another_mount_namespace_too(tmp_path: Path) -> None:
    code = f"""
import ctypes, mmap, os, time
for name in ("x (deleted)", "y"):
    with open("{tmp_path}/" + name, "w+b") as file:
        file.truncate({PAGE})
        globals()[name[0]] = mmap.mmap(file.fileno(), {PAGE})
os.unlink("{tmp_path}/y")
print(*(ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (x, y)), flush=True)
time.sleep(600)
"""
    inside = f'mount -t tmpfs none {tmp_path} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", inside, "sh", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            real, gone = map(int, process.stdout.readline().split())
            assert list(tmp_path.iterdir()) == []
            with AddressSpace(process.pid) as space:
                assert (
                    ranges("x (deleted)", space) == ranges(f"{tmp_path}/x (deleted)", space) == ((real, real + PAGE),)
                )
                assert ranges(f"{tmp_path}/x", space) == ()
                assert ranges("y", space) == ranges(f"{tmp_path}/y", space) == ((gone, gone + PAGE),)
        finally:
            process.kill()


@pytest.mark.parametrize(
    "name", [b"plain", b"a/b", b"x (deleted)", b"\xff\x1b\n[heap]", b"libc.so.6", "приложение".encode()[:-1]]
)
def test_memfds_are_found_by_their_names(new_map: NewMap, name: bytes) -> None:
    libc_ranges = ranges("libc")
    fd = libc.memfd_create(ctypes.c_char_p(name), 0)
    os.truncate(fd, PAGE)
    address = new_map(PAGE, READ | WRITE, SHARED, fd)
    os.close(fd)
    assert in_map_files(address) == b"/memfd:" + name + b" (deleted)"
    typed = os.fsdecode(b"memfd:" + name)
    assert ranges(typed) == ranges(f"/{typed}") == ((address, address + PAGE),)
    assert ranges("libc") == libc_ranges


def test_shared_memory_is_found_by_its_names(new_map: NewMap) -> None:
    before = ranges("/dev/zero")
    address = new_map(PAGE, READ | WRITE, SHARED | ANONYMOUS)
    assert in_map_files(address) == b"/dev/zero (deleted)"
    assert set(ranges("/dev/zero")) - set(before) == {(address, address + PAGE)}
    assert set(ranges("zero")) == set(ranges("/dev/zero"))


def test_shared_memory_of_system_v_is_found_by_its_key() -> None:
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(0, ctypes.c_size_t(PAGE), 0o600 | 0o1000)  # IPC_PRIVATE, IPC_CREAT
    address = libc.shmat(segment, None, 0)
    libc.shmctl(segment, 0, None)  # IPC_RMID: as soon as it is detached
    try:
        assert in_map_files(address) == b"/SYSV00000000 (deleted)"
        assert (address, address + PAGE) in ranges("SYSV00000000")
    finally:
        libc.shmdt(ctypes.c_void_p(address))


def test_a_file_that_is_deleted_or_renamed_is_no_other_mapping(new_map: NewMap, tmp_path: Path) -> None:
    path = tmp_path / "a"
    address = mapped(new_map, bytes(path))
    look = Around(Named("a", "a", None, Target(((address, address + PAGE),)), own()), "pagemap")
    path.rename(tmp_path / "b")
    assert look.notes({}) == []
    (tmp_path / "b").unlink()
    assert look.notes({}) == []
    assert mapped_over(address, tmp_path / "c") == address
    assert len(look.notes({})) == 1


def mapped_over(address: int, path: Path) -> int:
    path.write_bytes(bytes(PAGE))
    with path.open("r+b") as file:
        found: int = libc.mmap(address, PAGE, READ | WRITE, SHARED | 0x10, file.fileno(), 0)  # MAP_FIXED
    return found


@needs_root
def test_users_without_a_name_and_with_any(tmp_path: Path) -> None:
    passwd = Path("/etc/passwd").read_bytes() + b"r\xff\x1b:x:54322:54322::/:/bin/sh\n"
    (tmp_path / "passwd").write_bytes(passwd)
    code = """
import ctypes, os, pte_magic, time
children = []
for uid in (54321, 54322):
    ours, theirs = os.pipe()
    children.append(os.fork())
    if not children[-1]:
        os.setuid(uid)
        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG
        os.write(theirs, b"1")
        time.sleep(600)
    os.read(ours, 1)
found = pte_magic.machine().set_index("pid").loc[children]
for child in children:
    os.kill(child, 9)
print(*found["user"])
"""
    inside = 'mount --bind "$0" /etc/passwd; exec "$@"'
    told = python(code, "unshare", "--mount", "sh", "-c", inside, str(tmp_path / "passwd"))
    assert told.splitlines()[-1] == r"54321 r\xff\x1b"


HOSTS = {
    b"\xff\xfe": r"\xff\xfe",
    "приложение".encode()[:-1]: r"приложени\xd0",
    b"a\x1b[31m\nb/..%": r"a\x1b[31m\nb/..%",
    "\x85\u2028".encode(): r"\x85\u2028",
    b"\xff" * 64: r"\xff" * 64,
}


@needs_root
@pytest.mark.parametrize("name", HOSTS, ids=[str(at) for at in range(len(HOSTS))])
def test_names_of_machines(name: bytes, tmp_path: Path) -> None:
    code = f"""
import ctypes, json, numpy, os
import pandas as pd
import pte_magic
name = {name!r}
assert ctypes.CDLL(None).sethostname(name, len(name)) == 0
a = numpy.ones(5000)
found = pte_magic.walk(a)
joined = found.frames()
table = pte_magic.machine()
pte_magic.snapshot({str(tmp_path / "saved")!r})
saved = pte_magic.load({str(tmp_path / "saved")!r})
back = saved.frame(pid=os.getpid())
hosts = [*{{*found["host"], *joined["host"], *table["host"], *back["host"], *saved.processes().index.levels[0]}}]
again = saved.frame(host=hosts[0])
texts = [repr(found), repr(joined), found._repr_html_(), repr(table), repr(back), repr(saved), repr(saved.processes()),
         saved.processes().to_html(), repr(found.diff(pte_magic.walk(a)))]
print(json.dumps([hosts, texts, len(again) == len(back), back.frames()["region"].tolist()[:1]]))
"""
    hosts, texts, same, _ = json.loads(python(code, "unshare", "--uts"))
    assert hosts == [HOSTS[name]]
    assert same
    assert [unseen(text) for text in texts] == [[]] * len(texts)
    # Where they are now, elsewhere: another host's, but with the same name.
    loaded = pte_magic.load(tmp_path / "saved")
    assert {str(host) for host in loaded.frame()["host"]} == {HOSTS[name]}
    with pytest.raises(TargetError, match="these entries are of the host") as caught:
        loaded.frame(start=0, end=1 << 40).frames()
    assert unseen(str(caught.value)) == []


@needs_root
def test_a_data_set_may_say_anything_of_where_it_comes_from(tmp_path: Path) -> None:
    pte_magic.snapshot(tmp_path)
    (directory,) = tmp_path.glob("host=*")
    directory.rename(tmp_path / "host=%1B%5B31m\u202e%FF")
    loaded = pte_magic.load(tmp_path)
    found = loaded.frame()
    assert set(found["host"]) == {r"\x1b[31m\u202e\xff"}
    assert unseen(repr(loaded)) == unseen(repr(found)) == unseen(found._repr_html_() or "") == []


@needs_root
@pytest.mark.parametrize("name", [b"\xff\xfe", b"a b\x1b\x0b", "\u2028\x85".encode(), rb"a\040b"])
def test_names_of_groups(name: bytes) -> None:
    with memory_group() as group:
        directory = bytes(group.directory) + b"/" + name
        os.mkdir(directory)  # noqa: PTH102  (bytes)
        try:
            with forked(lambda: _enter(directory)) as child:
                child.step()
                told = Path(f"/proc/{child.pid}/cgroup").read_bytes()
                inode = os.stat(directory).st_ino  # noqa: PTH116  (bytes)
                (path,) = memory_cgroups.paths([inode]).values()
                (line,) = (line for line in told.split(b"\n") if line.endswith(b"/" + name))
                shown = line.split(b":", 2)[2].decode(errors="backslashreplace")
                assert path == "".join(
                    letter.encode("unicode_escape").decode() if unseen(letter) else letter for letter in shown
                )
                assert path.startswith(group.path + "/")
        finally:
            os.rmdir(directory)  # noqa: PTH106  (bytes)


def _enter(directory: bytes) -> None:
    fd = os.open(directory + b"/cgroup.procs", os.O_WRONLY)
    os.write(fd, b"0")
    os.close(fd)


@needs_root
@pytest.mark.parametrize("name", [b"a b", b"a\nb", b"\xff\x1c\x85", b"a - cgroup2 x", rb"a\040b"])
def test_groups_are_found_wherever_they_are_mounted(name: bytes, tmp_path: Path) -> None:
    with memory_group() as group:
        inode = group.directory.stat().st_ino
        root = next(path for path in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if path.is_dir())
        at = bytes(tmp_path) + b"/" + name
        os.mkdir(at)  # noqa: PTH102  (bytes)
        code = f"""
import os, subprocess
from pte_magic.linux import memory_cgroups
subprocess.run(["mount", "--bind", {str(root)!r}, {at!r}], check=True)
subprocess.run(["umount", "--recursive", "--lazy", "/sys/fs/cgroup"], check=True)
print(memory_cgroups.paths([{inode}])[{inode}])
"""
        assert python(code, "unshare", "--mount") == group.path


def test_errors_are_one_line_whatever_they_name() -> None:
    for error in (
        errors.TargetError("a\x1b\n\x85"),
        errors.NoAddressSpaceError(1, "a\x1b\n\x85"),
        errors.WalkerUnavailableError("stap", "a\x1b\n\x85"),
        errors.WorkloadError("a\x1b\n\x85"),
    ):
        assert r"a\x1b\n\x85" in str(error)
    assert str(errors.SystemTapError("a\x1b\n\tb")) == "a\\x1b\n\tb"


def test_the_journal_has_a_line_a_message() -> None:
    code = r"""
import os
from pte_magic.helper import journal
journal.say("a\x1b[31m\n<2>forged \udcff\u2028")
"""
    done = python(f"import os; os.dup2(1, 2)\n{code}")
    assert done == r"a\x1b[31m\n<2>forged \xff\u2028"


def test_in_a_notebook(new_map: NewMap, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    path = tmp_path / "my\x1b\u202efile.so"
    address = mapped(new_map, bytes(path))
    path.unlink()
    shown = str(path).replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    for typed in (str(path), shown):
        assert shell.run(f"%pte {typed}").result["vaddr"].tolist() == [address]
    unknown = shell.run("%pte /nowhere/a\x1b\u202e")
    assert unknown.err.startswith("UsageError: ")
    assert unseen(unknown.err) == []
    assert f"%pte {shown.rpartition('/')[2]}" in shell.complete("%pte my")


def test_notes_and_headlines_are_harmless(new_map: NewMap, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J\u202e"
    mapped(new_map, bytes(path))
    with pte_magic.watch(str(path), walker="pagemap") as watch:
        assert unseen(repr(watch)) == []
    bundle: Any = watch._repr_mimebundle_()
    assert unseen(str(bundle)) == []
    assert re.search(r"a\\+x1b", repr(watch))
