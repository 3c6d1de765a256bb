"""``%pte --vars``: the memory of all names of the notebook, or of some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pte_magic.api.variables.variables import of_held
from pte_magic.errors import TargetError
from pte_magic.notebook.expressions import pid_of, short
from pte_magic.targets.namespaces import of_notebook
from pte_magic.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pte_magic.api.variables.variables import Variables


def named_memory(shell: Any, names: str, child: str | None, namespace: Mapping[str, Any]) -> Variables:
    """Return the memory of the names of a shell, and of all else; or of some names only.

    Args:
        shell: IPython's shell.
        names: Names with commas between; empty for all.
        child: An expression for the pid of a forked child, or None.
        namespace: Python's variables, for that expression.

    Raises:
        TargetError: A name is not defined, or the pid is not that of a forked child.

    """
    try:
        pid = None if child is None else pid_of(child, namespace)
    except NameError as error:
        message = f"--pid {error.name} is not defined; type the number of a forked child, or an object that has a pid"
        raise TargetError(message) from error
    held, beyond = of_notebook(shell)
    known = [one.name for one in held]
    wanted = list(dict.fromkeys(name.strip() for name in names.split(","))) if names else known
    for name in wanted:
        if name not in known:
            held.clear()
            near = did_you_mean(name, known) or "; %pte --vars shows all names"
            message = f"{short(name)} is not a variable{near}"
            raise TargetError(message)
    found = of_held(held, beyond, pid)
    return found[found["name"].isin(wanted)] if names else found
