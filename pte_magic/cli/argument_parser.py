"""`Parser`: a parser of options whose errors are one line each, which says what to type."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pte_magic.errors.cut import cut
from pte_magic.errors.escapes import visible
from pte_magic.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 60  # characters of a word in an error


def quoted(text: str) -> str:
    """Return a word as errors show it."""
    return cut(ascii(text) if len(text) > _SHOWN or not text.isprintable() else repr(text), _SHOWN)


class Parser(argparse.ArgumentParser):
    """A parser with such errors; it takes no shortened options, which would end with the next option of that name."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **given})
        self.register("action", None, _Value)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words; options may also come between and after the others.

        Before Python 3.13, argparse takes a word that may be missing, such as TARGET, for missing when an option comes.
        """
        return super().parse_known_args(args if args is None else self._options_first(args), namespace)

    def _options_first(self, words: Sequence[str]) -> list[str]:
        if self._subparsers is not None:  # the words after a command are that one's
            return list(words)
        options, others, rest = [], [], iter(words)
        for word in rest:
            if word == "--":
                others += [word, *rest]
            elif word.startswith("-"):
                options.append(word)
                action = self._option_string_actions.get(word)
                if action and action.nargs is None:
                    options += [value for _, value in zip(range(1), rest, strict=False)]
            else:
                others.append(word)
        return [*options, *others]

    def error(self, message: str) -> NoReturn:
        """Write a line, and exit with status 2."""
        self.exit(2, f"{self.prog}: {visible(message)}; type `{self.prog} --help`\n")

    def unknown(self, words: Sequence[str], pid: int | None = None) -> NoReturn:
        """Refuse words that are not options, or one too many; `pid` is the one that was named."""
        option = next((word for word in words if word.startswith("-")), None)
        if option is None and pid is not None and words[0].isdecimal():
            self.error(f"{quoted(words[0])} is one pid too many: name one process at a time, as in `{self.prog} {pid}`")
        if option is None:
            self.error(f"{quoted(words[0])} is a word too many")
        name = option.partition("=")[0]
        self.error(f"there is no option {quoted(name)}{did_you_mean(name, self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: str) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:  # noqa: SLF001  (there is no other name for it)
            near = did_you_mean(value, action.choices)
            message = f"{quoted(value)} is not a command{near or '; type one of ' + ', '.join(action.choices)}"
            raise argparse.ArgumentError(None, message)
        super()._check_value(action, value)


class _Value(argparse.Action):
    """The value of an option, typed once; no value is empty."""

    _is_typed = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  (as argparse calls it)
        namespace: argparse.Namespace,
        value: Any,
        option: str | None = None,
    ) -> None:
        """Keep it."""
        if self._is_typed:
            message = f"typed twice, the second time with {quoted(str(value))}; type it once"
            raise argparse.ArgumentError(self, message)
        if value == "" or value == Path():  # of an unset variable of the shell
            message = f"the value is empty; type {option or ''} {self.metavar or self.dest.upper()}".replace("  ", " ")
            raise argparse.ArgumentError(self, message)
        self._is_typed = True
        setattr(namespace, self.dest, value)
