"""The ``%%stap`` cell magic: runs a cell as SystemTap, shows its output while it runs, and returns it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from pte_magic.errors import NoSuchProcessError, PteMagicError, SystemTapError
from pte_magic.errors.arguments import shown
from pte_magic.errors.escapes import visible
from pte_magic.linux.address_space import own
from pte_magic.notebook import options_and_target, typed_words
from pte_magic.notebook.expressions import evaluate, pid_of, short
from pte_magic.notebook.options import name, seconds
from pte_magic.notebook.stap.cell_script import NAME, Cell, fill
from pte_magic.notebook.stap.messages import explain
from pte_magic.notebook.stap.output_table import table
from pte_magic.notebook.stap.python_values import value
from pte_magic.notebook.stap.run_and_show import play
from pte_magic.systemtap import module_cache, toolchain
from pte_magic.systemtap.script import Script
from pte_magic.text.suggestions import undefined

_LARGEST_BUFFER = 4095  # MiB; staprun takes no more


class Output(str):
    """The output of a script. A notebook does not show it again, as it was shown while the script ran."""

    __slots__ = ()

    def _ipython_display_(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Request:
    """A typed cell with Python's values in it.

    Attributes:
        options: The options of the magic's line.
        cell: The cell below it.
        script: The script to compile.
        target: The pid that ``target()`` returns.

    """

    options: argparse.Namespace
    cell: Cell
    script: Script
    target: int


def request(line: str, text: str | None, namespace: dict[str, Any]) -> Request | None:
    """Return the request of a cell; None for help.

    Args:
        line: The text after ``%%stap``.
        text: The lines below; None for ``%stap``, which has none.
        namespace: Python's variables.

    Raises:
        PteMagicError, NameError: A value is of the wrong kind, or does not exist.
        UsageError: An option is wrong, or the cell empty.

    """
    typed = options_and_target.read(StapMagics.stap, line, namespace, is_python=False)
    options = typed.options
    if options.help or (text is None and not line.strip()):
        return None
    if text is None:
        message = "%stap shows help; type the options after %%stap, and the script in the lines below"
        raise UsageError(message)
    if typed_words.has_open_quote(line):
        message = f"{short(line)}: no closing quotation"
        raise UsageError(message)
    if not text.strip():
        message = 'the cell is empty; type a script below %%stap, such as probe begin { println("hello"); exit() }'
        raise UsageError(message)
    cell = fill(f"{text.rstrip()}\n", namespace)  # how many empty lines follow is nothing to compile anew for
    script = Script(
        cell.script,
        NAME,
        options=(*["-g"] * options.guru, *(f"-D{define}" for define in options.define)),
        arguments=tuple(_argument(word.text, namespace) for word in typed_words.words(typed.target)),
        include=(toolchain.TAPSET, *options.include),
    )
    return Request(options, cell, script, _target(options.target, namespace))


def _target(text: str, namespace: dict[str, Any]) -> int:
    pid = pid_of(text, namespace)
    if pid is None:
        return own().pid
    if pid <= 0 or not Path(f"/proc/{pid}").exists():
        raise NoSuchProcessError(pid)
    return pid


def _argument(word: str, namespace: dict[str, Any]) -> str:
    if word.startswith("$"):
        return str(value(word[1:], evaluate(word[1:], namespace)))
    return _word(word)


def _word(text: str) -> str:
    """Return a word of the line without the quotes that keep it together."""
    return text[1:-1] if len(text) > 1 and text[0] in "'\"" and text[0] == text[-1] else text


def _directory(text: str) -> Path:
    path = Path(_word(text)).expanduser().absolute()
    if not path.is_dir():
        message = f"there is no directory {visible(str(path))}; type the path of one with tapsets"
        raise argparse.ArgumentTypeError(message)
    return path


def _mebibytes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _LARGEST_BUFFER:
        message = f"{shown(text)} is not a number from 1 to {_LARGEST_BUFFER}; type one such as 64"
        raise argparse.ArgumentTypeError(message)
    return int(text)


@magics_class
class StapMagics(Magics):
    """The magic that runs SystemTap."""

    @no_var_expand
    @line_cell_magic
    @magic_arguments("%stap")
    @argument(
        "-x", "--target", metavar="PID", default="self", help="pid that target() returns; this process by default"
    )
    @argument("-g", "--guru", action="store_true", help="allow embedded C")
    @argument("-T", "--timeout", type=seconds, metavar="SECONDS", help="end the script after that time")
    @argument("-o", "--out", type=name, metavar="NAME", help="put the result into this variable, and show no table")
    @argument(
        "-t", "--table", action="store_true", help="make a DataFrame of the output; its first line names the columns"
    )
    @argument(
        "-I",
        dest="include",
        type=_directory,
        action="append",
        default=[],
        metavar="DIR",
        help="one more directory of tapsets",
    )
    @argument(
        "-D",
        dest="define",
        type=_word,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for the C preprocessor, such as MAXACTION=10000",
    )
    @argument(
        "-s", "--buffer", type=_mebibytes, metavar="MIB", help="size of the buffer for output, for each processor"
    )
    @argument("-v", "--verbose", action="store_true", help="show SystemTap's steps")
    @argument("-h", "--help", action="store_true", help="show this help, and run nothing")
    @argument("arguments", nargs="*", metavar="ARGUMENT", help="$1 and @1, $2 and @2 … of the script; put -- first")
    def stap(self, line: str, cell: str | None = None) -> object:
        r"""Run the cell as SystemTap, and show its output while it runs.

        Interrupt the kernel to end it.

        %%stap
        probe kernel.trace("exceptions:page_fault_user") {
            if (pid() == target())
                printf("%p %s\n", $address,
                       pte_flags_str(pte_of(task_current(), $first)))
        }

        $first is the value of Python's variable of that name, if there is one: a
        number, a text, or an array's address. @var("first") is the probe point's
        own variable in any case. pte_of() and the other functions of pte-magic's
        tapset are always available.

        The result is the printed text, or a DataFrame (--table).
        """
        shell: Any = self.shell
        try:
            asked = request(line, cell, dict(shell.user_ns))
            if asked is None:
                print(self.stap.__doc__)  # noqa: T201  (it was asked for)
                return None
            module = _module(asked)
        except NameError as error:
            raise UsageError(undefined(error, shell.user_ns)) from error
        except PteMagicError as error:
            # Only exactly this class is printed without a traceback.
            raise UsageError(str(error)) from error
        except KeyboardInterrupt:
            message = "interrupted before the script ran; nothing is left of it"
            raise UsageError(message) from None
        result, wrong = _run(asked, module)
        if asked.options.out:
            shell.user_ns[asked.options.out] = result
        if wrong:
            raise UsageError(wrong)
        return None if asked.options.out else result


def _module(asked: Request) -> Path:
    if why := toolchain.cannot_load():
        raise SystemTapError(why)
    verbose = asked.options.verbose

    def hear(said: str) -> None:
        _say(said if verbose else explain(said, asked.cell))

    try:
        return module_cache.compiled(asked.script, verbose=verbose, hear=hear)
    except SystemTapError as error:
        message = explain(str(error), asked.cell) or str(error)
        raise SystemTapError(message) from error


def _run(asked: Request, module: Path) -> tuple[object, str]:
    options = asked.options
    printed, wrong = play(
        module,
        target=asked.target,
        variables=[f"{name}={number}" for name, number in asked.cell.variables.items()],
        options=[*["-v"] * options.verbose, *(["-b", str(options.buffer)] if options.buffer else [])],
        timeout=options.timeout,
        show=not options.table,
        hear=lambda line: _say(explain(line, asked.cell)),
    )
    if options.table and not wrong:
        try:
            return table(printed), ""
        except SystemTapError as error:
            wrong = str(error)
    if options.table:  # it was not shown yet, and is not a table
        sys.stdout.write(printed)
    return Output(printed), wrong and explain(wrong, asked.cell)


def _say(text: str) -> None:
    if text:
        sys.stderr.write(text if text.endswith("\n") else f"{text}\n")
        sys.stderr.flush()
