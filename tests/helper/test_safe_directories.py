"""Where the helper listens: no other user decides which file is changed, or whether it starts."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, needs_root
from serving import COMMAND, ENVIRONMENT, Helper
from talking import still_serves
from waiting import SECONDS, wait_until

from pte_magic.helper import listener, safe_directories

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_root


def refused(path: Path) -> str:
    done = subprocess.run(
        [*COMMAND, "--socket", str(path)], capture_output=True, text=True, check=False, cwd="/", env=ENVIRONMENT,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("owner", "mode"), [(NOBODY, 0o755), (0, 0o777), (0, 0o775), (0, 0o1777)], ids=["user", "all", "group", "sticky"]
)
def test_a_directory_that_others_may_write_to_is_refused(owner: int, mode: int, tmp_path: Path) -> None:
    directory = tmp_path / "theirs"
    directory.mkdir()
    os.chown(directory, owner, 0)
    directory.chmod(mode)
    said = f"others may write to {directory} (user {owner}, mode {mode:04o})"
    with pytest.raises(PermissionError, match=re.escape(said)):
        safe_directories.opened(directory)
    assert not list(directory.iterdir())


def test_so_is_what_would_be_made_below_it(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    assert refused(theirs / "new" / "socket") == (
        f"pte-magic: {theirs}/new/socket: others may write to {theirs} (user {NOBODY}, mode 0755); "
        "type `pte-magic serve --socket PATH` for another path\n"
    )
    assert not list(theirs.iterdir())


def test_a_link_that_takes_the_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    """Who owns the directory above replaces it between any two steps; what he wants to be changed stays as it is."""
    mine = tmp_path / "root's"
    mine.mkdir(mode=0o700)
    before = mine.stat()
    theirs, ended = tmp_path / "theirs", threading.Event()
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)

    def replace() -> None:
        while not ended.is_set():
            (theirs / "link").symlink_to(mine)
            (theirs / "link").unlink()

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(2000):
            with pytest.raises(PermissionError, match=f"others may write to {theirs} "):
                safe_directories.opened(theirs / "link")
    finally:
        ended.set()
        thread.join()
    after = mine.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)


def test_a_link_of_root_s_is_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to("../run")
    for link in ("var/run/new", "var/absolute/new"):
        (tmp_path / "var" / "absolute").unlink(missing_ok=True)
        (tmp_path / "var" / "absolute").symlink_to(tmp_path / "run")
        found = safe_directories.opened(tmp_path / link)
        assert os.path.samestat(os.fstat(found), (tmp_path / "run" / "new").stat())
        os.close(found)
    os.chown(tmp_path / "var" / "run", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(PermissionError, match=r"others may write to .*/var/run "):
        safe_directories.opened(tmp_path / "var/run/new")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        safe_directories.opened(tmp_path / "loop")


def test_where_a_link_of_root_s_ends_nobody_else_may_write(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    for link, to in (("link", "sticky"), ("link", "sticky/"), ("link", "sticky/."), ("sticky/link", ".")):
        (tmp_path / link).unlink(missing_ok=True)
        (tmp_path / link).symlink_to(to)
        with pytest.raises(PermissionError, match=r"others may write to .*/sticky "):
            os.close(safe_directories.opened(tmp_path / link))


def test_what_does_not_exist_is_made_for_all_to_enter(tmp_path: Path) -> None:
    os.close(safe_directories.opened(tmp_path / "a" / "b"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o755] * 2


def test_nobody_s_lock_on_the_directory_keeps_it_from_starting(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_SH)  # which everybody may who may read it
        helper = Helper(tmp_path)
        try:
            still_serves(helper.path)
            assert {path.name for path in tmp_path.iterdir()} == {"socket", "log"}
        finally:
            helper.end()
    finally:
        os.close(directory)
    assert {path.name for path in tmp_path.iterdir()} == {"log"}


def test_what_goes_wrong_while_it_starts_is_said_and_no_lock_is_left(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileNotFoundError, match="mine"), listener._alone(directory, "socket"):
            raise FileNotFoundError(errno.ENOENT, "mine")
        assert not list(tmp_path.iterdir())
    finally:
        os.close(directory)


def test_of_many_that_start_at_a_time_one_serves(tmp_path: Path) -> None:
    command = [*COMMAND, "--socket", str(tmp_path / "socket")]
    logs = [tmp_path / f"log{number}" for number in range(4)]
    started = []
    for log in logs:
        with log.open("wb") as stderr:
            started.append(subprocess.Popen(command, stderr=stderr, cwd="/", env=ENVIRONMENT))
    try:
        wait_until(lambda: sum(process.poll() is not None for process in started) == len(started) - 1)
        said = [log.read_text(encoding="utf-8") for log in logs]
        assert sum("serving for" in text for text in said) == 1, said
        assert sum("already; type" in text for text in said) == len(started) - 1, said
        assert {path.name for path in tmp_path.iterdir()} == {"socket", *(log.name for log in logs)}
        still_serves(tmp_path / "socket")
    finally:
        for process in started:
            process.terminate()
            process.wait(SECONDS)
