"""Attacks on the helper, the walkers and all that reads what others wrote, for as long as it is told: ``make attack``.

MINUTES   how long, 10 by default; each attack has a turn at least, so with very few minutes it takes longer
SEED      what chance begins with; it is printed, and an alarm tells the seed of its round
ONLY      names of attacks with commas between them, as in the table's first column
ROUNDS    how many rounds a turn has at most

Each turn of an attack is a process of its own (`turn.py`), two of them at a time. What goes wrong is an alarm: what was
seen, and what to type to see that round again. At the end there is a table of all that was done; the exit status is 1
if there was an alarm.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

HERE = Path(__file__).parent
NAMES = (
    "fuzzed_messages", "killed_clients", "restarted_helper", "bad_helper", "storms", "stopped", "hidden_frames",
    "hidden_entries", "damaged_snapshots", "killed_snapshots", "forks", "hostile_names", "typed_garbage",
)  # fmt: skip
AT_A_TIME = 2
_SHORTEST, _LONGEST = 5.0, 60.0  # seconds of a turn
_GRACE = 400.0  # seconds that a turn may take beyond its own
_MEMORY = 3 << 30  # bytes that a process of an attack may ever have had
_SPACING = 1_000_000  # between the seeds of two turns: more than a turn has rounds
_EACH = 60.0  # seconds between two lines of progress


class Alarm(NamedTuple):
    """What went wrong in which round."""

    attack: str
    seed: int
    what: str


class Bench:
    """All that is done, and what was counted.

    Attributes:
        counts: By attack.
        turns: How many were taken, by attack.
        memory: The most bytes of a process, by attack.
        alarms: In the order of coming.
        interrupted: Whether somebody did not want to wait until time is over.

    """

    def __init__(self, told: argparse.Namespace, names: list[str]) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        self.turns: Counter[str] = Counter()
        self.memory: Counter[str] = Counter()
        self.alarms: list[Alarm] = []
        self.interrupted = False
        self._told, self._names = told, names
        self._begun = time.monotonic()
        self._end = self._begun + told.minutes * 60
        self._length = min(max(told.minutes * 60 * AT_A_TIME / (2 * len(names) or 1), _SHORTEST), _LONGEST)
        self._lock = threading.Lock()
        self._next = 0
        self._running: list[subprocess.Popen[str]] = []

    def run(self) -> None:
        """Take turns until time is over."""
        threads = [threading.Thread(target=self._turns) for _ in range(AT_A_TIME)]
        told = self._begun
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.2)
                if time.monotonic() - told > _EACH:
                    told = time.monotonic()
                    print(self._progress(), flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            self.interrupted = True
            self._end = 0.0
            self._next = len(self._names)
            with self._lock:
                for process in self._running:
                    os.killpg(process.pid, signal.SIGKILL)
            for thread in threads:
                if thread.ident:
                    thread.join()

    def _progress(self) -> str:
        minutes = (time.monotonic() - self._begun) / 60
        alarms = f"{len(self.alarms)} alarms" if self.alarms else "no alarm"
        return f"{minutes:.0f} of {self._told.minutes:g} minutes, {self.turns.total()} turns, {alarms}"

    def _turns(self) -> None:
        while True:
            with self._lock:
                number, self._next = self._next, self._next + 1
            left = self._end - time.monotonic()
            is_over = left < _SHORTEST and number >= len(self._names)
            enough = self._told.alarms and len(self.alarms) >= self._told.alarms
            if not self._names or is_over or enough or self._end == 0:
                return
            name, turn = self._names[number % len(self._names)], number // len(self._names)
            self._turn(name, self._told.seed + turn * _SPACING, max(min(self._length, left), 1.0))

    def _turn(self, name: str, seed: int, seconds: float) -> None:
        """Have an attack take a turn, and count what it did."""
        command = [
            sys.executable, str(HERE / "turn.py"), name, "--seed", str(seed), "--seconds", str(seconds),
            "--rounds", str(self._told.rounds), "--bench", str(os.getpid()), *["--broken"] * self._told.broken,
        ]  # fmt: skip
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
            tempfile.TemporaryDirectory(prefix="pte-magic-attack-", ignore_cleanup_errors=True) as place,
        ):
            Path(place).chmod(0o1777)  # of all users of the turn; what those leave who are killed goes with it
            with self._lock:
                if self._end == 0:
                    return
                process = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, text=True,
                    start_new_session=True, cwd=HERE, env=os.environ | {"TMPDIR": place},
                )  # fmt: skip
                self._running.append(process)
            result, hung = _result(process, seconds + self._told.grace)
            with self._lock:
                self._running.remove(process)
            if self._end == 0:
                return
            self._judge(name, seed, result, hung=hung, said=_last(said))

    def _judge(self, name: str, seed: int, result: dict[str, Any], *, hung: bool, said: str) -> None:
        alarm, code, memory = result.get("alarm", ""), result["code"], result["memory"]
        if hung:
            alarm = f"it has not ended, so it was asked where it is:\n{said}"
        elif code:
            alarm = f"it has ended with {code}:\n{said}"
        elif memory > _MEMORY:
            alarm = alarm or f"a process had {memory >> 20} MiB of memory"
        with self._lock:
            self.turns[name] += 1
            self.memory[name] = max(self.memory[name], memory)
            for what, number in result.get("counts", {}).items():
                before = self.counts[name][what]
                self.counts[name][what] = max(before, number) if "most" in what else before + number
            if alarm:
                self.alarms.append(Alarm(name, result.get("seed", seed), alarm))
                print(shown(self.alarms[-1]), flush=True)


def _result(process: subprocess.Popen[str], seconds: float) -> tuple[dict[str, Any], bool]:
    """Wait for a turn; return what it told, and whether it had to be ended. None of its processes is left."""
    assert process.stdout
    ended = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGABRT))
    ended.start()
    out = process.stdout.read()
    hung = not ended.is_alive()
    ended.cancel()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    found: dict[str, Any] = json.loads(out) if out else {}
    return {**found, "code": process.returncode, "memory": usage.ru_maxrss << 10}, hung


def _last(said: IO[str]) -> str:
    said.seek(0)
    return said.read()[-4000:]


def shown(alarm: Alarm) -> str:
    again = f"make attack ONLY={alarm.attack} SEED={alarm.seed}"
    return f"\nALARM in {alarm.attack}; type `{again}` to have this round first\n{alarm.what.strip()}\n"


def about(name: str) -> dict[str, str]:
    """Return what an attack's module says of itself, without importing it."""
    module = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    return {
        str(node.targets[0].id): str(node.value.value)
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.targets[0], ast.Name)
    }


def table(bench: Bench) -> str:
    """Return a row an attack."""
    lines = ["| attack | what | turns | counts | most memory | alarms |", "|---|---|---|---|---|---|"]
    for name, counts in bench.counts.items():
        told = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in counts.items())
        alarms = sum(alarm.attack == name for alarm in bench.alarms)
        memory = f"{bench.memory[name] >> 20} MiB"
        lines.append(
            f"| {name} | {about(name)['WHAT']} | {bench.turns[name]} | {told} | {memory} | {alarms or 'none'} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES") or 10))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or secrets.randbelow(1 << 31)))
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS") or 0))
    parser.add_argument("--only", default=os.environ.get("ONLY") or "")
    parser.add_argument("--grace", type=float, default=_GRACE, help="seconds that a turn may take beyond its own")
    parser.add_argument(
        "--alarms", type=int, default=0, help="after how many it ends; by default only when time is over"
    )
    parser.add_argument("--broken", action="store_true", help="break what is attacked, to see that there are alarms")
    told = parser.parse_args()
    chosen = told.only.replace(",", " ").split() or [*NAMES]
    for name in chosen:
        if name not in NAMES and not (HERE / f"{name}.py").is_file():
            parser.error(f"{name!r} is not an attack; type some of {', '.join(NAMES)}")
    needs = {name: about(name)["NEEDS_ROOT"] for name in chosen}
    names = [name for name in chosen if not (needs[name] and os.geteuid())]
    print(f"SEED={told.seed}: {len(names)} attacks, {AT_A_TIME} at a time, {told.minutes:g} minutes", flush=True)
    for name in chosen:
        if name not in names:
            print(f"{name} is not run: it needs root: {needs[name]}", flush=True)
    bench = Bench(told, names)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no turn is left by that, either
    bench.run()
    for alarm in bench.alarms:
        print(shown(alarm))
    print(f"\n{table(bench)}\n\nSEED={told.seed}: {len(bench.alarms) or 'no'} alarms")
    if bench.interrupted and not bench.alarms:
        return 128 + signal.SIGINT
    return 1 if bench.alarms else 0


if __name__ == "__main__":
    sys.exit(main())
