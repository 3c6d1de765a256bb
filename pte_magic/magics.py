"""The ``%pte`` line magic: parses a line, calls `pte_magic.walk`, and turns errors into one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, needs_local_scope, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from pte_magic import core, diff_magic, typed_numbers, walkers
from pte_magic import target as targets
from pte_magic.doctor import doctor
from pte_magic.errors import PteMagicError
from pte_magic.named import named
from pte_magic.options import seconds
from pte_magic.processes import machine
from pte_magic.space import own
from pte_magic.stap_magic import StapMagics
from pte_magic.watching import Watch, stop_all

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

    from pte_magic.frame import PteFrame

_VIEWS = ("runs", "summary", "frames", "bits", "translation", "map")
_OPTIONS = (
    "--walker",
    "--tables",
    "--no-tables",
    *(f"--{name}" for name in _VIEWS),
    "--watch",
    "--every",
    "--decode",
    "--level",
    "--machine",
)
_TYPED = re.compile(r"^(?:.*=)?\s*%(%?)pte\s(?:.*\s)?(\S*)$")


@magics_class
class PteMagics(Magics):
    """Magics that show page-table entries."""

    @output_can_be_silenced
    @needs_local_scope
    @line_magic
    @magic_arguments("pte")
    @argument("-w", "--walker", default=walkers.AUTO, help="auto (the best that works here), or one of %%pte's list")
    @argument("-t", "--tables", action="store_true", default=None, help="also the entries that point to tables")
    @argument("-T", "--no-tables", action="store_false", dest="tables", help="only the entry at which the walk ends")
    @argument("-r", "--runs", action="store_true", help="merge neighbours that differ only in their address")
    @argument("-s", "--summary", action="store_true", help="entries and bytes by state and page size")
    @argument("-f", "--frames", action="store_true", help="what the kernel knows of each page frame, and of its region")
    @argument("-b", "--bits", action="store_true", help="a picture of the bits of an entry; click to see what if")
    @argument("-x", "--translation", action="store_true", help="a picture of an address on its way through the tables")
    @argument("-m", "--map", action="store_true", help="a picture of a range, a cell an entry")
    @argument("-W", "--watch", action="store_true", help="a picture that follows what happens, until it is stopped")
    @argument("-e", "--every", type=seconds, metavar="SECONDS", help="with --watch: between two looks; 1 by default")
    @argument("-d", "--decode", metavar="VALUE", help="decode a raw entry; no process is needed")
    @argument("-l", "--level", default="pte", help="level of the entry to decode: pgd, p4d, pud, pmd or pte")
    @argument("-M", "--machine", action="store_true", help="all processes; with --map, all physical memory")
    @argument("target", nargs="*", help="[PID] TARGET; see below")
    def pte(self, line: str = "", local_ns: dict[str, Any] | None = None) -> object:
        """Show the page-table entries behind something, as a DataFrame or as a picture.

        %pte a              the memory of a: arrays, bytes, mmap, ctypes, tensors, DataFrames, Arrow; else the object
        %pte a[4096:]       any Python expression; what it names is held while it is walked
        %pte 0x7f12345678   one address: its translation, level by level
        %pte START-END      a range, as in /proc/PID/maps
        %pte [heap]         a region of /proc/PID/maps: [heap], [stack], libc, a file
        %pte all            the whole address space
        %pte 1234 [heap]    the same of another process; the pid may be an expression: %pte child.pid a
        %pte --frames a     who else maps its page frames, their flags, node and memory cgroup; as root
        %pte --bits a       the bits of the first entry, to play with
        %pte --map a        a picture of all entries, a cell each
        %pte --translation 0x7f12345678    one address on its way through the tables
        %pte --watch a      a live picture of what happens to a; its button stops it, or running the cell again
        %pte --decode 0x8000000153016067
        %pte --machine      all processes of this machine: resident on which pages, shared, swapped
        %pte --machine --map    physical memory by owner
        %pte                which walkers work here, and what to type where one does not
        df = %pte a         keep it: a DataFrame, one row an entry
        %%pte a             run the cell below, and show what it changed; %%pte? tells more
        """
        try:
            arguments = parse_argstring(self.pte, line.strip().removesuffix(";"))
        except ValueError as error:  # a quote without its other
            raise UsageError(str(error)) from error
        shell: Any = self.shell
        namespace = {**shell.user_ns, **(local_ns or {})}
        text = " ".join(arguments.target)
        try:
            if arguments.decode is not None:
                typed = typed_numbers.entry(arguments.decode, namespace)
                if typed.note:
                    print(typed.note)  # noqa: T201  (output of the cell, above its table)
                decoded = core.decode(typed.value, level=arguments.level)
                return decoded.bits() if arguments.bits else decoded
            if not text and not arguments.machine:
                return doctor()
            views = [name for name in (*_VIEWS, "watch") if getattr(arguments, name)]
            if len(views) > 1:
                message = f"--{' and --'.join(views)} are different views; type one of them"
                raise UsageError(message)
            if arguments.every and not arguments.watch:
                message = "--every goes with --watch; type %pte --watch --every SECONDS TARGET"
                raise UsageError(message)
            if arguments.machine:
                return _machine(text, views, walker=arguments.walker)
            if arguments.watch:
                return _watch(text, namespace, walker=arguments.walker, every=arguments.every or 1.0)
            frame = _walk(text, namespace, walker=arguments.walker, tables=arguments.tables)
            return getattr(frame, views[0])() if views else frame
        except (PteMagicError, NameError) as error:
            # Only exactly this class is printed without a traceback.
            raise UsageError(str(error)) from error


def _walk(text: str, namespace: dict[str, Any], *, walker: str, tables: bool | None) -> PteFrame:
    with named(text, namespace) as found:  # held, or its memory would be free again when it is looked at
        if found.meant.note:
            print(found.meant.note)  # noqa: T201  (the note is output of the cell, above its table)
        return core.walk_target(found.meant, found.space, walker=walker, tables=tables)


def _machine(text: str, views: list[str], *, walker: str) -> object:
    if text or views not in ([], ["map"]):
        message = "--machine is about all processes; type %pte --machine, or %pte --machine --map"
        raise UsageError(message)
    found = machine(walker=walker)
    return found.map() if views else found


def _watch(text: str, namespace: dict[str, Any], *, walker: str, every: float) -> Watch:
    with named(text, namespace) as found:
        if found.meant.note:
            print(found.meant.note)  # noqa: T201  (see _walk)
        return Watch(found, every=every, walker=walker)


@context_matcher()
def _complete(context: CompletionContext) -> SimpleMatcherResult:
    """Complete options and names of regions after ``%pte`` and ``%%pte``.

    A matcher and no ``complete_command`` hook: for the hook a word ends at every bracket and dash.
    """
    typed = _TYPED.search(context.text_until_cursor)
    if not typed:
        return {"completions": []}
    is_cell, word = typed.groups()
    options = diff_magic.OPTIONS if is_cell else _OPTIONS
    names = options if word.startswith("-") else (*targets.region_names(own()), "all")
    found = [SimpleCompletion(name) for name in names if name.startswith(word)]
    return {"completions": found, "matched_fragment": word, "suppress": bool(found) and word[:1] in {"-", "["}}


def load(shell: InteractiveShell) -> None:
    """Add the magics and their completion to a shell."""
    shell.register_magics(PteMagics, StapMagics)
    diff_magic.load(shell)
    completer: Any = shell.Completer
    if _complete not in completer.custom_matchers:
        completer.custom_matchers.append(_complete)


def unload(shell: InteractiveShell) -> None:
    """Take the magics and their completion away again and unload the walkers."""
    magics: Any = shell.magics_manager
    magics.magics["line"].pop("pte", None)
    magics.magics["line"].pop("stap", None)
    magics.magics["cell"].pop("stap", None)
    diff_magic.unload(shell)
    completer: Any = shell.Completer
    if _complete in completer.custom_matchers:
        completer.custom_matchers.remove(_complete)
    stop_all()  # or they would load the walkers again
    walkers.close()
