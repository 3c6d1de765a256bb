"""``pte-magic decode``: the meaning of numbers as entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pte_magic.api.decode import decode as decoded
from pte_magic.cli import output, terminal
from pte_magic.cli.argument_parser import quoted
from pte_magic.errors import arguments
from pte_magic.text.typed_numbers import number

if TYPE_CHECKING:
    import argparse

    from pte_magic.cli.argument_parser import Parser


def decode(given: argparse.Namespace) -> None:
    """Decode raw entries.

    Raises:
        TargetError: One is not an entry.

    """
    entries, parser = [], cast("Parser", given.parser)
    for text in given.values:
        read = number(text, digits_are_hex=True)
        if read is None:
            parser.error(f"{quoted(text)} is not a number, such as 0x8000000153016067")
        if read.note:
            terminal.note(read.note)
        entries.append(arguments.typed_entry(text, read.value))
    frame = decoded(entries, level=given.level, arch=given.arch, release=given.release)
    if given.bits:
        output.no_text_only(given, "--bits")
        terminal.show("\n\n".join(str(frame.bits(row)) for row in range(len(frame))))
    else:
        output.give(frame, given)
