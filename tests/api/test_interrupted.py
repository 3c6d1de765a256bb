"""Interrupts at any moment: what comes afterwards works, and no descriptor is left."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from conftest import python
from interrupting import AT_ANY_MOMENT
from shells import Shell

if TYPE_CHECKING:
    from pathlib import Path

WALKS = (
    AT_ANY_MOMENT
    + """
import ctypes, gc, warnings
warnings.simplefilter("ignore", ResourceWarning)  # a file that nobody holds any more is closed
memory = mmap.mmap(-1, 1 << 16)
memory[0] = 1
pte_magic.walk(memory)
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    while True:
        signal.pause()
address = pte_magic.walk(memory)["vaddr"].iloc[0]
space = "pte_magic/linux/address_space.py"
try:
    for do in (
        lambda: pte_magic.entries(address, address + 4096, pid=child),
        lambda: next(pte_magic.stream(address, address + 4096, pid=child)),
    ):
        do()
        gc.collect()
        before, number = descriptors(), 1
        while interrupted(do, number, (space, "pte_magic/walkers/"), (space,)):
            assert descriptors() == before, number
            number += 1
        assert number > 100, number
        do()
    assert len(pte_magic.walk(memory)) == 16
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print("ok")
"""
)

IMPORTS = (
    AT_ANY_MOMENT
    + """
import warnings
warnings.simplefilter("ignore")  # a fork while threads are there: numpy's
work = {work}
status = []
for number in {numbers}:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert interrupted(work, number, ("{where}",))
            assert "{module}" in sys.modules
            work()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    status.append(os.waitpid(pid, 0)[1])
assert not any(status), status
print("ok")
"""
)


def test_walks_of_others_leave_no_descriptor() -> None:
    assert python(WALKS) == "ok"


RAW = (
    AT_ANY_MOMENT
    + """
import gc, warnings
from pathlib import Path
from pte_magic.linux import descriptors as free, kernel_text
from pte_magic.api.snapshots import checks
warnings.simplefilter("ignore", ResourceWarning)  # a file that nobody holds any more is closed
directory = os.open("/proc/self", os.O_PATH)

def opened():
    with checks.readable(Path("/proc/self/exe")) as file:
        assert file.read(4) == b"\x7fELF"

for do, where in (
    (lambda: kernel_text.threads(directory), "kernel_text.py"),
    (lambda: free.are_free(), "descriptors.py"),
    (opened, "checks.py"),
):
    do()
    before, number = descriptors(), 1
    while interrupted(do, number, (where,), (where,)):
        if descriptors() != before:
            gc.collect()
        assert descriptors() == before, (where, number)
        number += 1
    assert number > 10, (where, number)
print("ok")
"""
)


def test_what_opens_descriptors_leaves_none() -> None:
    assert python(RAW) == "ok"


@pytest.mark.parametrize(
    ("work", "module", "where"),
    [
        ("lambda: progress.bar('looking', 1, 'process').update()", "tqdm.std", "tqdm/std.py"),
        ("lambda: pte_magic.walk(b'x').map()", "pte_magic.views.page_map.page_map", "views/page_map/page_map.py"),
        ("lambda: pte_magic.walk(b'x').bits()", "pte_magic.views.bits", "views/bits.py"),
        (
            "lambda: pte_magic.walk(b'x').frames()",
            "pte_magic.dataframes.page_frame_columns",
            "pte_magic/dataframes/page_frame_columns.py",
        ),
    ],
)
def test_an_import_is_never_half_done(work: str, module: str, where: str) -> None:
    """Interrupted within it, it comes to its end, and what needs it works the next time."""
    assert python(IMPORTS.format(work=work, numbers="(1, 4)", module=module, where=where)) == "ok"


def test_a_magic_that_is_interrupted_says_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path)

    def interrupt(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pte_magic.api.machine.visiting.with_space", interrupt)
    found = shell.run("%pte --machine")
    assert (found.out + found.err).strip().splitlines() == ["UsageError: interrupted; nothing is left of it"]
    monkeypatch.undo()
    assert "processes" in repr(shell.run("%pte --machine").result)
