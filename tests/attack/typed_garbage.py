"""Lines of all kinds after %pte: each is answered, or is one line; none has a traceback."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from children import chance_of
from handmade import PAGE
from shells import Shell
from turn import WAIT
from typed_lines import NAMES, f

from pte_magic.api import watch

if TYPE_CHECKING:
    import random

    from turn import Turn

WHAT = "hostile lines after %pte"
NEEDS_ROOT = ""

LINES, MEMORY = 100, 3 << 30  # of a round; bytes that the shell may get more
_WHOLE = (
    "a", "b[2:5]", "b[:, -1]", "child.pid a", "a, child.pid a", "0x7f12345678", "[heap]", "[stack]", "libc",
    "--frames a", "--bits a", "--map b", "--translation 0x7f12345678", "--decode 0x8000000153016067",
    "--decode 1 --level pmd", "", "--runs b", "--summary a, b", "--tables a", "-T a", "--walker pagemap a",
    "--walker bpf a", "--help", "df = 1", "self [stack]", "1 [heap]", "{a} b", "$r a", "d['--x']",
    "f(b, *[1, -1], key=2)", "--watch a --every 9", "-e 0", "0x7f0000000000-0x7f0000001000", "lambda: a",
    "[v for v in b][-1]", "f'{a} {s}'", "größe", "--machine --summary a",
)  # fmt: skip
_WORDS = (
    *_WHOLE, *NAMES, "--", "-", "-1", "--sum", "-tr", "-e2", "-x", ",", ", ,", ";", "#", "# c", "'", '"', "'''", "(",
    ")", "[", "]", "{", "}", "{}", "$", "$$", "%", "%%", "!", "?", "??", "=", ":=", "==", "*", "**kwargs", "@", "\\",
    "\\\n", "\t", "\xa0", "\u2028", "\x1b[2J", "\x00", "\ud800", "\u2013walker", "\u2014", "\u22121", "0x", "0b",
    "1e9", "1_000", "0x10000000000000000", "-0x5", "None", "...", "np.nan", "np.empty(0)", "object()", "Evil()", "evil",
    "raise", "import os", "yield", "await x", "print(1)", "1/0", "self", "pid", "all", "0", "99999999", "d", "int",
    "type", "__import__", "get_ipython()", "a.ctypes.data", "a." * 50 + "T", "(" * 300, "9" * 5000,
)  # fmt: skip


class Evil:
    """An object that raises whatever is asked of it."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        message = "two\nlines"
        raise ValueError(message)

    __str__ = __repr__

    def __int__(self) -> int:
        raise KeyError

    __index__ = __len__ = __int__


def line(chance: random.Random) -> str:
    """Make a line: words of all kinds, or one that is right with a few letters changed."""
    if chance.random() < 0.5:
        joined = chance.choice((" ", " ", "", ", "))
        return joined.join(chance.choice(_WORDS) for _ in range(chance.randrange(1, 6)))
    made = list(chance.choice(_WHOLE))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(made) + 1)
        letter = chance.choice(("", " ", "-", ",", *"()[]{}'\"#;:$%=@\\", chr(chance.randrange(32, 0x2100))))
        made[at : at + chance.randrange(2)] = letter
    return "".join(made)


def judge(shell: Shell, typed: str) -> bool:
    """Fail unless a line is answered or is one line; tell whether it is answered."""
    cell = shell.run(f"get_ipython().run_line_magic('pte', {typed!r})")
    said = (cell.out + cell.err).strip()
    assert "Traceback" not in said, (typed, said[-2000:])
    if cell.result is not None:
        repr(cell.result)
        return True
    if "UsageError" not in said:  # a ; or help
        return True
    assert said.count("UsageError: ") == 1, (typed, said[-2000:])
    last = said[said.index("UsageError: ") :]
    assert len(last.splitlines()) == 1, (typed, said[-2000:])
    assert len(last) < 1200, (typed, last)
    return False


def attack(turn: Turn) -> None:
    with tempfile.TemporaryDirectory(prefix="pte-magic-attack-") as name, subprocess.Popen(["sleep", "6000"]) as child:
        shell = Shell(Path(name))
        held = mmap.mmap(-1, 64 * PAGE)
        held.write(b"x" * len(held))
        b = np.frombuffer(held, np.uint8).reshape(64, PAGE)
        names = {**NAMES, "b": b, "child": child, "pid": os.getpid(), "f": f, "Evil": Evil, "evil": Evil(), "np": np}
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * PAGE + MEMORY,) * 2)
        try:
            for _ in turn.rounds():
                for number in range(LINES):
                    shell.ip.user_ns.update(names)
                    shell.run("a = np.ones(8 * 512)")
                    typed = line(chance_of(turn.seed * LINES + number))
                    signal.alarm(WAIT)
                    answered = judge(shell, typed)
                    watch.stop_all()
                    signal.alarm(0)
                    turn.count(answered=int(answered), refused=int(not answered))
        finally:
            child.kill()
