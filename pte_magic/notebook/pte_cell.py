"""The ``%%pte`` cell magic: walks targets, runs the cell, walks again, and shows what changed."""

from __future__ import annotations

import ast
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from pte_magic import walkers
from pte_magic.api.pte_diff import PteDiffs
from pte_magic.errors import PteMagicError
from pte_magic.errors.escapes import visible
from pte_magic.notebook import faults_cell, options_and_target
from pte_magic.notebook.before_after import Around, settle
from pte_magic.notebook.cell_body import Body
from pte_magic.notebook.line_target import named
from pte_magic.notebook.options import count, name, seconds
from pte_magic.notebook.typed_words import split

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Coroutine, Sequence

    from IPython.core.interactiveshell import InteractiveShell

    from pte_magic.api.pte_diff import PteDiff
    from pte_magic.notebook.options_and_target import Line

_CALL = "get_ipython().run_cell_magic('pte', "
_WORD = re.compile(r"[^\W\d]\w*")


@magics_class
class DiffMagics(Magics):
    """The magic that compares page-table entries before and after a cell."""

    @no_var_expand
    @cell_magic("pte")
    @magic_arguments("%pte")
    @argument(
        "-w",
        "--walker",
        metavar="NAME",
        default=walkers.AUTO,
        help="auto (the best that works here), or one of %%pte --doctor",
    )
    @argument(
        "--settle",
        type=seconds,
        default=0,
        metavar="SECONDS",
        help="wait for later changes (khugepaged, swap, a child), at most that long",
    )
    @argument("-m", "--map", action="store_true", help="two maps, before and after, with what changed outlined")
    @argument("--color", metavar="COLUMN", help="with --map: the meaning of its colours, such as size or dirty")
    @argument("-o", "--out", type=name, metavar="NAME", help="also put the difference into this variable")
    @argument("--faults", action="store_true", help="its page faults, by line and by variable")
    @argument("--no-lines", action="store_true", help="with --faults: do not trace lines; the cell runs faster")
    @argument("--source", metavar="NAME", help="with --faults: auto (the best that works here), bpf, perf or rusage")
    @argument("--children", action="store_true", help="with --faults: also of processes that the cell forks")
    @argument("--max", type=count, metavar="N", help="with --faults: the most faults that are kept; 1000000 by default")
    @argument("--buffer", type=count, metavar="BYTES", help="with --faults: the size of the kernel's buffer")
    @argument("-h", "--help", action="store_true", help="show this help, and run nothing")
    @argument("target", nargs="*", help="[PID] TARGET[, [PID] TARGET ...]; as for %%pte")
    def difference(self, line: str, cell: str) -> object:
        """Run the cell, and show which page-table entries it changed.

        %%pte a
        a[0] = 1

        %%pte a, child.pid a    of this process and of another one
        %%pte --settle 20 a     also changes of up to 20 seconds after the cell,
                                until they end
        %%pte --map a           two maps beside each other, before and after; what
                                changed is outlined
        %%pte --faults          which line touched which memory first, and what did
                                it cost? %%pte --faults a shows those of a only

        The targets are those of %pte: they exist before the cell runs, and their
        objects are held while it runs. The cell's output, values and errors are the
        same as without the magic; after an error, the difference is shown first.
        A ; at the end of the magic's line shows no difference.

        The difference is a DataFrame, one row per changed entry, and becomes _. For
        several targets it is a dict of differences by their texts. With --map, the
        picture becomes _, and -o keeps the difference. Entries are read twice: a
        change that was undone in between is not seen.
        """
        shell: Any = self.shell
        line_magic = options_and_target.Other("%pte", shell.find_line_magic("pte"))
        typed = options_and_target.read(DiffMagics.difference, line, shell.user_ns, other=line_magic)
        if typed.options.help:
            print(self.difference.__doc__)  # noqa: T201  (it was asked for)
            return _nothing() if _is_awaited(shell, cell) else None
        faults_cell.check(typed.typed)
        targets = list(dict.fromkeys(split(typed.target)))
        if typed.options.faults and not typed.target:
            targets = []
        if not all(targets) or not (targets or typed.options.faults):
            message = "a target is missing; type one, such as %%pte a, or %%pte a, child.pid a"
            raise UsageError(message)
        if typed.options.color and not typed.options.map:
            message = "--color goes with --map; type %%pte --map --color COLUMN TARGET"
            raise UsageError(message)
        try:
            body = Body(shell, cell)
        except SyntaxError as error:
            shell.showsyntaxerror()
            message = "the cell does not compile, so nothing was run"
            raise UsageError(message) from error
        running = (
            faults_cell.seen(shell, typed, targets, body)
            if typed.options.faults
            else self._compare(typed, targets, body)
        )
        return running if body.waits else _run(running)

    async def _compare(self, typed: Line, targets: Sequence[str], body: Body) -> object:
        shell: Any = self.shell
        options, is_shown = typed.options, not typed.is_silent
        with ExitStack() as stack:
            looks = [self._look(text, typed, body, stack) for text in targets]
            try:
                await body.run()
            except BaseException:
                found = self._found(looks, options)
                if found is not None and is_shown:
                    display(found)
                    shell.displayhook.update_user_ns(found)  # as if it had been returned
                raise
            if options.settle:
                try:
                    settle(looks, options.settle)
                except KeyboardInterrupt:
                    print("interrupted; the comparison is with the entries at that moment")  # noqa: T201  (see _found)
            found = self._found(looks, options)
            return found if is_shown else None

    def _look(self, text: str, typed: Line, body: Body, stack: ExitStack) -> Around:
        shell: Any = self.shell
        try:
            target = stack.enter_context(named(text, typed.names, options=_LONG))
            if target.meant.note:
                print(target.meant.note)  # noqa: T201  (the note is output of the cell, above the difference)
            return Around(target, typed.options.walker)
        except (PteMagicError, NameError) as error:
            made = [word for word in _WORD.findall(text) if word in body.made and word not in shell.user_ns]
            # Only exactly this class is printed without a traceback.
            if not made:
                raise UsageError(str(error)) from error
            message = (
                f"this cell creates {made[0]!r}, so there is no 'before' to compare with; "
                "create it in a cell above, or type %%pte all"
            )
            raise UsageError(message) from error

    def _found(self, looks: Sequence[Around], options: Namespace) -> object:
        """Compare, and print notes that the entries do not show; None if nothing can be compared any more."""
        shell: Any = self.shell
        found, notes = PteDiffs(), []
        result: PteDiff | PteDiffs | None
        for look in looks:
            text = look.target.text
            before = f"{text}: " if len(looks) > 1 else ""
            try:
                found[text] = look.difference()
            except PteMagicError as error:
                notes.append(f"{before}{error}")
            else:
                notes += [f"{before}{note}" for note in look.notes(shell.user_ns)]
        for note in notes:
            print(visible(note))  # noqa: T201  (notes are output of the cell, above the difference)
        result = (found or None) if len(looks) > 1 else next(iter(found.values()), None)
        if options.out:
            shell.user_ns[options.out] = result
        if not options.map or result is None:
            return result
        try:
            return result.map(options.color)
        except PteMagicError as error:  # the cell has run: what it changed is shown in any case
            print(f"{error}; this is the table")  # noqa: T201  (as above)
            return result


async def _nothing() -> None:
    pass


_LONG = options_and_target.long_options(DiffMagics.difference)


def _is_awaited(shell: Any, cell: str) -> bool:
    """Tell whether the magic's result is awaited: only if needed, as the cell could then not run its own event loop."""
    return bool(shell.should_run_async(cell, transformed_cell=shell.transform_cell(cell)))


def _run(body: Coroutine[Any, Any, object]) -> object:
    """Return the result of a coroutine that does not wait."""
    try:
        body.send(None)
    except StopIteration as done:
        return done.value
    message = "the cell has an await, and is not awaited"
    raise RuntimeError(message)


class Await:
    """Awaits a ``%%pte`` whose cell has an ``await``: a transformer of IPython's input, that comes after its own."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines of a cell after this transformation."""
        code = "".join(lines)
        if not code.startswith(_CALL):
            return lines
        _, cell = ast.literal_eval(f"({code.removeprefix(_CALL)}")
        return [f"await {code}"] if _is_awaited(self._shell, cell) else lines


def load(shell: InteractiveShell) -> None:
    """Add the magic to a shell."""
    shell.register_magics(DiffMagics)
    if not any(isinstance(one, Await) for one in shell.input_transformers_post):
        shell.input_transformers_post.append(Await(shell))


def unload(shell: InteractiveShell) -> None:
    """Remove it again."""
    shell.magics_manager.magics["cell"].pop("pte", None)
    shell.input_transformers_post[:] = [one for one in shell.input_transformers_post if not isinstance(one, Await)]
