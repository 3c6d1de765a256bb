"""``%%pte --faults``: runs the cell, and shows its page faults by line and by variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.display import display

from pte_magic.api.faults.seen import SeenFaults
from pte_magic.errors import PteMagicError, TargetError
from pte_magic.events import fault_sources
from pte_magic.linux.address_space import own
from pte_magic.notebook.expressions import names_in
from pte_magic.notebook.line_target import named
from pte_magic.targets.namespaces import of_notebook
from pte_magic.text.suggestions import undefined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pte_magic.notebook.cell_body import Body
    from pte_magic.notebook.options_and_target import Line

_ONLY = ("--no-lines", "--source", "--children", "--max", "--buffer")
_NEVER = ("--walker", "--settle", "--map", "--color")


def check(typed: Sequence[str]) -> None:
    """Refuse options that have no effect together.

    Args:
        typed: The options, written out.

    Raises:
        UsageError: Some have no effect.

    """
    if "--faults" in typed:
        for one in _NEVER:
            if one in typed:
                message = f"{one} does not go with --faults; type %%pte --faults, or %%pte --faults TARGET"
                raise UsageError(message)
        return
    for one in _ONLY:
        if one in typed:
            message = f"{one} goes with --faults; type %%pte --faults {one}"
            raise UsageError(message)


async def seen(shell: Any, typed: Line, targets: Sequence[str], body: Body) -> object:
    """Run a cell, and return its page faults; nothing with a ``;`` at the end of the line.

    Args:
        shell: IPython's shell.
        typed: The line of the magic.
        targets: The targets to which faults are narrowed; all if there are none.
        body: The cell.

    Raises:
        UsageError: A target is wrong, or the source cannot work here; the cell was not run.

    """
    options, is_shown = typed.options, not typed.is_silent

    known = set[str]()

    def ranges() -> list[tuple[int, int]] | None:
        names = {**typed.names, **shell.user_ns}
        return [pair for text in targets for pair in _ranges(text, names, body, known)] if targets else None

    found = SeenFaults(
        ranges,
        source=options.source or fault_sources.AUTO,
        traces_lines=not options.no_lines,
        children=options.children,
        most=options.max or fault_sources.MOST,
        buffer=options.buffer or fault_sources.BUFFER,
        cell=body.file,
    )
    try:
        found._begin(None, of_notebook(shell))  # noqa: SLF001  (the magic is a part of it)
    except NameError as error:
        raise UsageError(undefined(error, shell.user_ns)) from error
    except KeyboardInterrupt:  # also one that comes after it has begun
        found._detach()  # noqa: SLF001  (as above)
        raise
    except PteMagicError as error:
        # Only exactly this class is printed without a traceback.
        raise UsageError(str(error)) from error
    try:
        await body.run()
    except BaseException:
        _end(found, shell, options.out)
        if is_shown:
            display(found)
            shell.displayhook.update_user_ns(found)  # as if it had been returned
        raise
    _end(found, shell, options.out)
    return found if is_shown else None


def _end(found: SeenFaults, shell: Any, out: str | None) -> None:
    found._end(lambda: of_notebook(shell))  # noqa: SLF001  (as above)
    if out:
        shell.user_ns[out] = found


def _ranges(text: str, names: Mapping[str, Any], body: Body, known: set[str]) -> Sequence[tuple[int, int]]:
    """Return the addresses of a target now; none while the cell has not made its name, or after it deleted it."""
    used = names_in(text)
    absent = used - names.keys()
    if absent and absent <= body.made | known:
        return ()
    known |= used
    with named(text, names) as target:
        if target.space.pid != own().pid:
            message = f"--faults sees this process, and {text} is of another; type pte-magic faults PID in a shell"
            raise TargetError(message)
        return target.meant.ranges
