"""``%pte --why``: the line that matters, what to type, and huge pages by ``--try``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from causes import huge
from conftest import forked
from handmade import HUGE, NOHUGEPAGE, madvise
from shells import Shell

from pte_magic import Why

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


@pytest.fixture
def array(shell: Shell) -> NDArray[np.uint8]:
    """An array without huge pages, as the variable ``small``."""
    shell.run("import pte_magic; small = pte_magic.workloads.huge_array(2, 'nohugepage'); small[:] = 1")
    found: NDArray[np.uint8] = shell.ip.user_ns["small"]
    return found


def test_the_first_line_is_the_cause_and_the_second_what_to_type(shell: Shell, array: NDArray[np.uint8]) -> None:
    cell = shell.run("%pte --why small")
    assert isinstance(cell.result, Why)
    line, todo, *_ = str(cell.result).splitlines()
    assert line.startswith("not on huge pages: all ")
    assert line.endswith(" has the advice MADV_NOHUGEPAGE")
    shell.run(todo.removeprefix("type this: "))
    line, todo, *_ = str(shell.run("%pte --why small").result).splitlines()
    assert line.startswith("not on huge pages: nothing forbids them now")
    assert todo == "type this: %pte --why --try small"
    assert huge(array.ctypes.data) == 0
    assert str(shell.run(todo.removeprefix("type this: ")).result).startswith("on huge pages: all of ")
    assert huge(array.ctypes.data) == array.nbytes


def test_a_part_and_another_process(shell: Shell, array: NDArray[np.uint8]) -> None:
    madvise(array.ctypes.data, HUGE, NOHUGEPAGE)
    with forked() as child:
        first = str(shell.run(f"%pte --why {child.pid} small[0]").result).partition("\n")[0]
        assert first.endswith("has the advice MADV_NOHUGEPAGE")
        said = shell.run(f"%pte --why small, {child.pid} [stack]")
        assert "an answer to --why is of one process; type %pte --why for each" in said.err + said.out


def test_the_stack_has_no_name_for_numpy(shell: Shell) -> None:
    assert "numpy" not in set(shell.run("%pte --why [stack]").result["check"])
