"""A program ends with Python, whatever way Python ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import descriptors
from waiting import SECONDS, wait_until

from pte_magic.systemtap.guard import Guarded


def is_there(pid: int) -> bool:
    """Tell whether a process runs; one that has ended may wait to be noticed."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123  (may vanish while it is read)
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def minds_no_signals(program: int) -> bool:
    """Tell whether the guard of a program, its child, is there and ignores the signal that ends programs."""
    children = Path(f"/proc/{program}/task/{program}/children").read_text(encoding="ascii").split()
    ignored = [
        int(line.split()[1], 16) for child in children for line in _lines(f"/proc/{child}/status") if "SigIgn" in line
    ]
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in ignored)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:  # it has just ended
        return []


def guard_waits(program: int) -> bool:
    """Tell whether the guard of a program that runs is there, and waits for news of Python: nobody has woken it."""
    children = Path(f"/proc/{program}/task/{program}/children").read_text(encoding="ascii").split()
    return any("pipe_read" in word for child in children for word in _lines(f"/proc/{child}/wchan"))


def is_over(program: int) -> bool:
    """Tell whether nothing runs any more that was started with a program: it led a session."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_bytes().rpartition(b")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if state != b"Z" and int(session) == program:
            return False
    return True


def test_a_program_runs_and_is_left_alone(tmp_path: Path) -> None:
    guarded = Guarded(["echo", "a b", "$HOME"], last=f"touch {tmp_path}/last", stdout=subprocess.PIPE)
    assert guarded.process.communicate()[0] == b"a b $HOME\n"  # which ends only if nobody else holds the pipe
    assert guarded.watched
    guarded.dismiss()
    guarded.dismiss()
    assert not guarded.watched
    wait_until(lambda: is_over(guarded.process.pid))
    assert not (tmp_path / "last").exists()


def test_it_has_a_session_of_its_own() -> None:
    """A terminal's Ctrl-C goes to the processes of one session only."""
    guarded = Guarded(["sleep", "6000"], last=":")
    assert os.getsid(guarded.process.pid) == os.getpgid(guarded.process.pid) == guarded.process.pid
    guarded.process.kill()
    guarded.process.wait()
    guarded.dismiss()


def test_a_program_that_does_not_exist() -> None:
    guarded = Guarded(["/nonsense"], last=":", stderr=subprocess.PIPE)
    assert b"nonsense" in guarded.process.communicate()[1]
    assert guarded.process.returncode == 127
    guarded.dismiss()


def test_a_shell_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = descriptors()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError) as failed:  # it holds the object, as a notebook holds its last error
        Guarded(["true"], last=":")
    assert descriptors() == before
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]  # they get the numbers that its pipe had
    pid = os.fork()
    if pid == 0:
        os._exit(not all(Path(f"/proc/self/fd/{fd}").exists() for fd in others))
    for fd in others:
        os.close(fd)
    assert os.waitpid(pid, 0)[1] == 0, failed


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_python_dies(tmp_path: Path, how: signal.Signals | None) -> None:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            guarded = Guarded(["sleep", "6000"], last=f"kill -TERM $$; echo $$ > {tmp_path}/last")
            os.write(theirs, str(guarded.process.pid).encode())
            if how:
                time.sleep(SECONDS)
        finally:
            os._exit(0)
    program = int(os.read(ours, 20))
    assert is_there(program)
    if how:
        os.kill(pid, how)
    os.waitpid(pid, 0)
    wait_until(lambda: not is_there(program))
    wait_until(lambda: (tmp_path / "last").exists() and (tmp_path / "last").read_text() == f"{program}\n")
    os.close(ours)
    os.close(theirs)


def test_a_signal_to_all_of_its_group_does_not_stop_the_guard(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            guarded = Guarded(["sleep", "6000"], last=f"touch {tmp_path}/last")
            os.write(theirs, str(guarded.process.pid).encode())
            guarded.process.wait()
            time.sleep(SECONDS)
        finally:
            os._exit(0)
    program = int(os.read(ours, 20))
    wait_until(lambda: minds_no_signals(program))
    os.killpg(program, signal.SIGTERM)
    wait_until(lambda: not is_there(program))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until((tmp_path / "last").exists)
    os.close(ours)
    os.close(theirs)


def test_a_forked_child_forgets_it(tmp_path: Path) -> None:
    guarded = Guarded(["sleep", "6000"], last=f"touch {tmp_path}/last")
    wait_until(lambda: guard_waits(guarded.process.pid))
    pid = os.fork()
    if pid == 0:
        guarded.forget()
        os._exit(0)
    os.waitpid(pid, 0)
    wait_until(lambda: guard_waits(guarded.process.pid))  # still: what would wake it came before the child's end
    assert guarded.process.poll() is None
    guarded.process.kill()
    guarded.process.wait()
    guarded.dismiss()
    wait_until(lambda: is_over(guarded.process.pid))
    assert not (tmp_path / "last").exists()


def test_a_forked_child_that_lives_on_keeps_nothing(tmp_path: Path) -> None:
    """The child has the pipe whose end tells that Python has died, too, until it forgets the program."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            guarded = Guarded(["sleep", "6000"], last=f"kill -TERM $$; touch {tmp_path}/last")
            if os.fork() == 0:
                guarded.forget()
                os.write(theirs, f"{guarded.process.pid} {os.getpid()}".encode())
            time.sleep(SECONDS)
        finally:
            os._exit(0)
    program, child = map(int, os.read(ours, 40).split())
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        wait_until((tmp_path / "last").exists)
        wait_until(lambda: not is_there(program))
        assert is_there(child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(ours)
        os.close(theirs)
