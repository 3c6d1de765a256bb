"""Tab completion for the magics: options and their values, variables and regions.

Only types are looked at: an attribute of an object may be a property, which would run code of its class.
"""

from __future__ import annotations

import array
import builtins
import ctypes
import glob
import inspect
import keyword
import mmap
import os
import re
import types
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from pte_magic import walkers
from pte_magic.errors import PteMagicError
from pte_magic.events import fault_sources
from pte_magic.formats import kernel
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.notebook import option_combinations
from pte_magic.notebook.typed_words import words
from pte_magic.targets import target as targets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

_TYPED = re.compile(r"^(?:[^%]*=)?\s*(%%?(?:pte|stap))\s(.*)$", re.DOTALL)
_NAME = re.compile(r"(?:[^\W\d]\w*)?|\[[\w:. -]*")
_C_VALUE = ctypes.c_int.__mro__[-2]  # ctypes' base of all that lies in C's memory has no public name
_HAVE_MEMORY = (bytes, bytearray, memoryview, array.array, mmap.mmap, _C_VALUE)
_PROTOCOLS = (
    "__array_interface__",
    "__buffer__",
    "__dlpack__",
    "__arrow_c_array__",
    "__arrow_c_stream__",
    "__dataframe__",
    "_pa_array",
)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_NOTHING = object()
_IDENTIFIER = "pte_magic"


class Completer:
    """Completes the lines of our magics in one shell."""

    def __init__(self, shell: InteractiveShell, magics: Mapping[str, Any]) -> None:
        self._shell: Any = shell
        self._magics = magics

    def complete(self, context: CompletionContext) -> SimpleMatcherResult:
        """Return completions at the cursor; within brackets and after dots, IPython has better ones."""
        typed = _TYPED.fullmatch(context.text_until_cursor)
        if not typed:
            return {"completions": []}
        magic, line = typed.groups()
        found, word = self._found(magic, line)
        names = [name for name in dict.fromkeys(found) if name.startswith(word)]
        return {
            "completions": [SimpleCompletion(name) for name in names],
            "matched_fragment": word,
            "ordered": True,
            "suppress": True,
        }

    def _found(self, magic: str, line: str) -> tuple[list[str], str]:
        """Return completions at the end of a line, and the part that is typed already."""
        parser = self._magics[magic].parser
        actions = parser._option_string_actions  # noqa: SLF001  (there is no public way to ask for them)
        before = [word.text for word in words(line)]
        word = before.pop() if before and line.endswith(before[-1]) else ""
        action = actions.get(before[-1]) if before else None
        option, _, value = word.partition("=")
        if value or word.endswith("="):
            action, word = actions.get(option), value
        if action is not None and action.nargs != 0:
            return (_paths(word) if action.dest == "file" else self._values(action.dest)), word
        options = _options(magic, parser, before)
        if word.startswith("-"):
            return options, word
        word = word.rpartition(",")[2]
        if magic.endswith("stap") or not _NAME.fullmatch(word):
            return options, word
        return [*self._names(word, before), *options], word

    def _values(self, option: str) -> list[str]:
        if option == "walker":
            return [walkers.AUTO, *walkers.NAMES]
        if option == "source":
            return [fault_sources.AUTO, *fault_sources.NAMES]
        if option == "level":
            return list(kernel.running().format.levels)
        if option == "target":  # of SystemTap
            return ["self", *self._processes()]
        if option == "pid":
            return self._processes()
        return self._variables() if option == "decode" else []

    def _names(self, word: str, before: list[str]) -> list[str]:
        regions = [*targets.region_names(_space(before)), "all"]
        if word.startswith("["):
            return regions
        variables = self._variables(hidden=word.startswith("_"))
        code = [name for name in variables if issubclass(type(self._shell.user_ns[name]), _CODE)]
        data = [name for name in variables if name not in code]
        pythons = [name for name in (*dir(builtins), *keyword.kwlist) if word and not name.startswith("_")]
        return [*data, *self._processes(), "self", *regions, *code, *pythons]

    def _variables(self, *, hidden: bool = False) -> list[str]:
        """Return the names of variables, those first whose objects have their own memory."""
        values = {
            name: value
            for name, value in self._shell.user_ns.items()
            if name.isidentifier() and name not in self._shell.user_ns_hidden and (hidden or not name.startswith("_"))
        }
        return sorted(values, key=lambda name: (not _has_memory(values[name]), name))

    def _processes(self) -> list[str]:
        return [
            f"{name}.pid"
            for name in self._variables()
            if not issubclass(type(self._shell.user_ns[name]), _CODE)
            and inspect.getattr_static(self._shell.user_ns[name], "pid", _NOTHING) is not _NOTHING
        ]


def _paths(word: str) -> list[str]:
    """Return the files and directories that begin with what is typed."""
    return sorted(f"{path}/" if os.path.isdir(path) else path for path in glob.iglob(f"{glob.escape(word)}*"))  # noqa: PTH112, PTH207  (texts)


def _has_memory(value: object) -> bool:
    kind = type(value)
    return issubclass(kind, _HAVE_MEMORY) or any(
        inspect.getattr_static(kind, name, _NOTHING) is not _NOTHING for name in _PROTOCOLS
    )


def _space(before: list[str]) -> AddressSpace:
    """Return the address space whose regions are offered: that of the pid before the target, if it is a number."""
    if before and before[-1].isdecimal():
        try:
            return AddressSpace(int(before[-1]))
        except PteMagicError:
            pass
    return own()


def _options(magic: str, parser: argparse.ArgumentParser, before: list[str]) -> list[str]:
    """Return the long options that still have an effect after those before."""
    actions = parser._option_string_actions  # noqa: SLF001  (see above)
    typed = [actions[word].option_strings[-1] for word in before if word in actions]
    options = list(dict.fromkeys(action.option_strings[-1] for action in actions.values()))
    if magic == "%pte":
        return [
            option
            for option in options
            if all(option_combinations.go_together(one.removeprefix("--"), option.removeprefix("--")) for one in typed)
        ]
    return [option for option in options if option not in typed]


def load(shell: InteractiveShell, magics: Mapping[str, Any]) -> None:
    """Add the completion of our magics to a shell.

    A matcher and no ``complete_command`` hook: for the hook a word ends at every bracket and dash.

    Args:
        shell: The shell.
        magics: The methods with ``magic_arguments``, by their typed names.

    """
    unload(shell)
    completer: Any = shell.Completer

    @context_matcher(identifier=_IDENTIFIER)
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        return Completer(shell, magics).complete(context)

    completer.custom_matchers.append(matcher)


def unload(shell: InteractiveShell) -> None:
    """Remove it again."""
    completer: Any = shell.Completer
    completer.custom_matchers[:] = [
        one for one in completer.custom_matchers if getattr(one, "matcher_identifier", "") != _IDENTIFIER
    ]
