"""The bench of attacks: each still runs, and finds what is broken on purpose; a turn that goes wrong is an alarm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from attack import NAMES
from misbehaving import DIES, HANGS, RAISES
from turn import NOT_THERE
from waiting import SECONDS, wait_until

HERE = Path(__file__).parent
_SET = {"MINUTES", "SEED", "ONLY", "ROUNDS"}


def run(name: str, *options: str, seed: int = 1, rounds: int = 1) -> tuple[int, str]:
    """Run one attack of the bench for so many rounds; return its exit status and what it said."""
    command = [sys.executable, str(HERE / "attack.py"), "--only", name, "--seed", str(seed), "--rounds", str(rounds)]
    environment = {name: value for name, value in os.environ.items() if name not in _SET}
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, env=environment, timeout=4 * SECONDS
    )
    if found := re.search(r"is not run: (it needs root: .*)", done.stdout):
        pytest.skip(found[1])
    return done.returncode, done.stdout + done.stderr


def counts(name: str, said: str) -> list[int]:
    """Return the numbers that the table has of an attack."""
    (row,) = (line for line in said.splitlines() if line.startswith(f"| {name} "))
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", row.split(" | ")[3])]


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_of_one_round_counts_what_it_did_and_raises_no_alarm(name: str) -> None:
    code, said = run(name, "--minutes", "0")
    assert code == 0, said
    assert any(counts(name, said)), said
    assert said.rstrip().endswith("SEED=1: no alarms")


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_raises_an_alarm_about_what_is_broken(name: str) -> None:
    code, said = run(name, "--minutes", "2", "--broken", "--alarms", "1", rounds=0)
    assert code == 1, said
    assert f"make attack ONLY={name} SEED=" in said
    assert "Traceback" in said
    assert NOT_THERE not in said


@pytest.mark.parametrize(
    ("seed", "again", "what"),
    [
        (RAISES, RAISES + 6, "seen in the seventh round"),
        (HANGS, HANGS, "has not ended, so it was asked where it is"),
        (DIES, DIES, "has ended with -11"),
    ],
)
def test_a_turn_that_goes_wrong_is_an_alarm_that_says_how_to_repeat_it(seed: int, again: int, what: str) -> None:
    grace = "20" if seed == HANGS else str(SECONDS)
    code, said = run("misbehaving", "--minutes", "0", "--grace", grace, seed=seed, rounds=0)
    assert code == 1, said
    assert f"make attack ONLY=misbehaving SEED={again}`" in said
    assert what in said
    assert said.rstrip().endswith(" 1 alarms")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_turn_is_left_of_a_bench_that_is_ended(number: int, tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "attack.py"), "--only", "misbehaving", "--seed", str(HANGS)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # who is killed removes nothing
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as bench:
        try:
            children = Path(f"/proc/{bench.pid}/task")
            wait_until(lambda: turns(children))
            pids = turns(children)
            bench.send_signal(number)
            assert bench.wait(SECONDS) == (-number if number == signal.SIGKILL else 128 + signal.SIGINT)
        finally:
            bench.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def turns(tasks: Path) -> list[str]:
    """Return the pids of a bench's turns that have begun to be what they are."""
    pids = [pid for task in tasks.iterdir() for pid in (task / "children").read_text(encoding="ascii").split()]
    return [pid for pid in pids if b"turn.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_what_is_no_attack_is_told() -> None:
    code, said = run("storm")
    assert code == 2
    assert said.splitlines()[-1].endswith(f"'storm' is not an attack; type some of {', '.join(NAMES)}")
