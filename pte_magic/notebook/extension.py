"""The ``%pte`` line magic: parses a line, calls `pte_magic.walk`, and turns errors into one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, needs_local_scope, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from pte_magic import walkers
from pte_magic.api import walk
from pte_magic.api.decode import decode
from pte_magic.api.doctor import doctor
from pte_magic.api.machine.processes import machine
from pte_magic.api.page_cache import page_cache
from pte_magic.api.watch import Watch, stop_all
from pte_magic.api.why.why import of_target
from pte_magic.errors import PteMagicError, TargetError
from pte_magic.notebook import completion, option_combinations, options_and_target, pte_cell, shared_line
from pte_magic.notebook.expressions import entry, short
from pte_magic.notebook.line_target import at_first_byte, named_together
from pte_magic.notebook.named_memory import named_memory
from pte_magic.notebook.options import seconds
from pte_magic.notebook.short_help import SHORT_HELP
from pte_magic.notebook.stap_cell import StapMagics
from pte_magic.notebook.typed_words import split
from pte_magic.notebook.why_no_page_frames import why_nothing
from pte_magic.text.suggestions import undefined

if TYPE_CHECKING:
    import argparse

    from IPython.core.interactiveshell import InteractiveShell

    from pte_magic.notebook.expressions import Names
    from pte_magic.targets.named_target import Named


@magics_class
class PteMagics(Magics):
    """The magics that show page-table entries."""

    @no_var_expand
    @needs_local_scope
    @line_magic
    @magic_arguments("pte")
    @argument(
        "-w",
        "--walker",
        metavar="NAME",
        default=walkers.AUTO,
        help="auto (the best that works here), or one of --doctor's list",
    )
    @argument("--tables", action="store_true", default=None, help="also the entries that point to page tables")
    @argument("--no-tables", action="store_false", dest="tables", help="only the entry at which the walk ends")
    @argument("-r", "--runs", action="store_true", help="merge neighbours that differ only in their address")
    @argument("--summary", action="store_true", help="entries and bytes by state and page size")
    @argument("-f", "--frames", action="store_true", help="the kernel's data about each page frame, and the region")
    @argument("-b", "--bits", action="store_true", help="a picture of the bits of an entry; click to change them")
    @argument("--translation", action="store_true", help="a picture of an address on its way through the page tables")
    @argument("-m", "--map", action="store_true", help="a picture of a range, in squares of as many bytes")
    @argument("--color", metavar="COLUMN", help="with --map: the meaning of its colours, such as size or dirty")
    @argument("--why", action="store_true", help="why it is not on huge pages, swapped out, or on several nodes")
    @argument(
        "--try", action="store_true", help="with --why: have the kernel make huge pages now, and explain its answer"
    )
    @argument("-W", "--watch", action="store_true", help="a live picture of changes, until it is stopped")
    @argument(
        "-e", "--every", type=seconds, metavar="SECONDS", help="with --watch: seconds between two looks; 1 by default"
    )
    @argument("-d", "--decode", metavar="VALUE", help="decode a raw entry; no process is needed")
    @argument(
        "-l", "--level", metavar="LEVEL", default="pte", help="level of the entry to decode: pgd, p4d, pud, pmd or pte"
    )
    @argument("--shared", action="store_true", help="what this process shares with its children, and what each copied")
    @argument("-M", "--machine", action="store_true", help="all processes; with --map, all physical memory")
    @argument("--vars", action="store_true", help="whose memory: a row per variable, and the rest of the process")
    @argument("--pid", metavar="CHILD", help="with --vars: a forked child, by this process' names")
    @argument("--file", metavar="PATH", help="which parts of a file are in the page cache")
    @argument("--doctor", action="store_true", help="the walkers that work here, and what to type for the others")
    @argument("-h", "--help", action="store_true", help="show this help")
    @argument("target", nargs="*", help="[PID] TARGET[, [PID] TARGET ...]; see above")
    def pte(self, line: str = "", local_ns: dict[str, Any] | None = None) -> object:
        """Show the page-table entries behind a target, as a DataFrame or as a picture.

        %pte a              the memory of a: arrays, bytes, mmap, ctypes, tensors,
                            DataFrames, Arrow; else the object
        %pte a[:, -1]       any Python expression; its object is held during the
                            walk
        %pte a, child.pid a
                            several targets in one frame; a shared entry is listed
                            once
        %pte 0x7f12345678   one address: its translation, level by level
        %pte START-END      a range, as in /proc/PID/maps
        %pte [heap]         a region of /proc/PID/maps: [heap], [stack], libc, a
                            file
        %pte all            the whole address space, shown by region; --runs shows
                            the entries
        %pte 1234           the same of another process
        %pte 1234 [heap]    any target in another process; the pid may be an
                            expression: %pte child.pid a
        %pte --frames a     its page frames: map count, flags, node and memory
                            cgroup; as root
        %pte --frames --summary a
                            entries and bytes by region, state and page size
        %pte --bits a       the bits of the first entry; click to change them
        %pte --map a        a picture of all its memory, in squares of as many bytes
        %pte --translation 0x7f12345678
                            one address on its way through the page tables
        %pte --why a        why is it not on huge pages? Each check, and what to
                            type; --why --try a makes them
        %pte --watch a      a live picture of changes to a; stop it by its button or
                            by running the cell again
        %pte --decode 0x8000000153016067
        %pte --machine      all processes of this host: resident memory by page
                            size, shared, swapped
        %pte --machine --map    physical memory by owner
        %pte --shared a     what do my children still share of a since the fork, and
                            who copied? Without a, by region
        %pte --shared 1234  the same of another process and its children; --shared
                            --watch shows it live
        %pte --vars         whose memory is it: a row per variable, and the rest of
                            the process by owner
        %pte --vars a, b    the same of some variables; --pid CHILD asks for a
                            forked child
        %pte --file PATH    which parts of a file are in the page cache
        %pte --doctor       what you can see here: the walkers that work, and what
                            to type where one does not
        %pte                a short help
        df = %pte a         keep it: a DataFrame, one row per entry
        %%pte a             run the cell below, and show what it changed; see %%pte?

        Options come first, and the rest of the line is Python; -- ends them, as in
        %pte -- -a. After the target, an option is written out: %pte a --runs.
        A ; at the end shows nothing, {expression} and $name are IPython's.
        """
        shell: Any = self.shell
        namespace = shell.user_ns
        if local_ns is not None and local_ns is not namespace:  # within a function
            namespace = {**namespace, **local_ns}
        cell_magic = options_and_target.Other("%%pte", pte_cell.DiffMagics.difference)
        typed = options_and_target.read(self.pte, line, namespace, other=cell_magic)
        if typed.options.help or not (typed.typed or typed.target):
            print(self.pte.__doc__ if typed.options.help else SHORT_HELP)  # noqa: T201  (it was asked for)
            return None
        option_combinations.check([name.removeprefix("--") for name in typed.typed], typed.target)
        try:
            shown = (
                named_memory(shell, typed.target, typed.options.pid, typed.names)
                if typed.options.vars
                else _shown(typed.target, typed.options, typed.names)
            )
        except NameError as error:
            raise UsageError(undefined(error, namespace)) from error
        except PteMagicError as error:
            # Only exactly this class is printed without a traceback.
            raise UsageError(str(error)) from error
        except KeyboardInterrupt as error:
            raise UsageError(f"interrupted: {error}" if str(error) else "interrupted; nothing is left of it") from None
        return None if typed.is_silent else shown


def _without_target(options: argparse.Namespace, namespace: Names) -> object:
    """Return the result of a line with an option that needs no target; None if there is none."""
    if options.decode is not None:
        typed = entry(options.decode, namespace)
        if typed.note:
            print(typed.note)  # noqa: T201  (output of the cell, above its table)
        decoded = decode(typed.value, level=options.level)
        return decoded.bits() if options.bits else decoded
    if options.file is not None:
        return page_cache(Path(options.file).expanduser())
    if options.machine:
        found = machine(walker=options.walker)
        return found.map() if options.map else found
    return doctor() if options.doctor else None


def _shown(text: str, options: argparse.Namespace, namespace: Names) -> object:
    """Return the result of a line."""
    if (found := _without_target(options, namespace)) is not None:
        return found
    if options.shared:
        return shared_line.shown(text, options, namespace, _LONG)
    view = next((name for name in option_combinations.VIEWS if getattr(options, name)), None)
    if view == "translation" and len(split(text)) > 1:
        message = f"--translation shows one address, and {short(text)} names several targets; type one"
        raise TargetError(message)
    with named_together(text, namespace, options=_LONG) as named:
        if len(named) > 1 and view in _OF_ONE:
            message = f"{short(text)}: {_OF_ONE[view]} is of one process; type %pte --{view} for each"
            raise TargetError(message)
        targets = [at_first_byte(one) for one in named] if view == "translation" else named
        for one in targets:
            if one.meant.note:
                print(one.meant.note)  # noqa: T201  (notes are output of the cell, above its table)
        if view in _NOT_OF_FRAMES:
            return _NOT_OF_FRAMES[view](targets[0], options)
        # The objects are held, or their memory would be free again when it is looked at.
        frames = [
            walk.walk_target(one.meant, one.space, walker=options.walker, tables=options.tables) for one in targets
        ]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    return _view(frame, view, options)


def _watch(named: Named, options: argparse.Namespace) -> object:
    """Return a live picture of a target."""
    return Watch(named, every=options.every or 1.0, walker=options.walker)


def _why(named: Named, options: argparse.Namespace) -> object:
    """Return why a target is not on huge pages."""
    return of_target(
        named.meant,
        named.space,
        value=named.value,
        again=f"%pte --why --try {named.text}",
        collapses=vars(options)["try"],
        walker=options.walker,
    )


def _view(frame: Any, view: str | None, options: argparse.Namespace) -> object:
    """Return a view of a frame."""
    if options.frames:
        frame = frame.frames()
        if why := why_nothing(frame):
            print(why)  # noqa: T201  (as the notes above)
        return frame.summary(["region"]) if options.summary else frame
    if options.color is not None:
        return frame.map(options.color)
    return getattr(frame, view)() if view else frame


_OF_ONE = {"watch": "a watch", "map": "a map", "why": "an answer to --why"}
_NOT_OF_FRAMES = {"watch": _watch, "why": _why}
_LONG = options_and_target.long_options(PteMagics.pte)


def load(shell: InteractiveShell) -> None:
    """Add the magics and their completion to a shell."""
    shell.register_magics(PteMagics, StapMagics)
    pte_cell.load(shell)
    stap = StapMagics.stap
    completion.load(
        shell, {"%pte": PteMagics.pte, "%%pte": pte_cell.DiffMagics.difference, "%stap": stap, "%%stap": stap}
    )


def unload(shell: InteractiveShell) -> None:
    """Take the magics and their completion away again and unload the walkers."""
    magics: Any = shell.magics_manager
    magics.magics["line"].pop("pte", None)
    magics.magics["line"].pop("stap", None)
    magics.magics["cell"].pop("stap", None)
    pte_cell.unload(shell)
    completion.unload(shell)
    stop_all()  # or they would load the walkers again
    walkers.close()
