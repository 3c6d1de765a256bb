"""What each attack would find, broken on purpose: with it, an attack that raises no alarm is of no use.

`turn.py --broken` applies it. What a helper does is broken in the helper's own process: `python breaking.py serve …`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack


def _helper(stack: ExitStack, how: str) -> None:
    command = (sys.executable, str(Path(__file__)), how, "serve")
    stack.enter_context(patch("serving.COMMAND", command))


def tells_frames(stack: ExitStack) -> None:
    """A helper that hides no page frames."""
    _helper(stack, "tells_frames")


def lies(stack: ExitStack) -> None:
    """A helper that says another page frame of a page now and then."""
    _helper(stack, "lies")


def believes(stack: ExitStack) -> None:
    """A client that believes what a helper says."""
    stack.enter_context(patch("pte_magic.walkers.helper_answers.wrong", lambda *_, **__: ""))


def overlaps(stack: ExitStack) -> None:
    """Rows as the walkers find them, one after the other."""
    for module in ("entries", "shared_memory", "overlapping_rows"):
        name = f"pte_magic.walkers.{module}.disjoint"
        stack.enter_context(patch(name, lambda entry, spans, *_: (entry, spans), create=True))


def another_frame(stack: ExitStack) -> None:
    """A walker that gives the first page that it finds the page frame beside its own."""
    from pte_magic.walkers.bpf.walker import BpfWalker  # noqa: PLC0415  (what is broken is imported when it is)

    walk = BpfWalker.walk

    def wrong(*arguments: Any, **named: Any) -> Any:
        found = walk(*arguments, **named)
        for at in (found.entry & 1).nonzero()[0][:1]:
            found.entry = found.entry.copy()
            found.entry[at] ^= 1 << 12
        return found

    stack.enter_context(patch.object(BpfWalker, "walk", wrong))


def hides_most(stack: ExitStack) -> None:
    """What takes frames out of all entries but one in a thousand."""
    from pte_magic.formats.hidden import hide  # noqa: PLC0415  (as above)

    def wrong(entry: Any, level: Any, of: Any) -> None:
        some = entry[::1000].copy()
        hide(entry, level, of)
        entry[::1000] = some

    stack.enter_context(patch("hidden_entries.hide", wrong))


def no_checksum(stack: ExitStack) -> None:
    """A snapshot whose rows and description may be any."""
    from pte_magic.errors import TargetError  # noqa: PLC0415  (as above)

    def must(holds: object, what: str) -> None:
        if not holds and "was written" not in what:
            raise TargetError(what)

    for module in ("parquet_reader", "parquet_footer"):
        stack.enter_context(patch(f"pte_magic.api.snapshots.{module}.must", must))


def in_place(stack: ExitStack) -> None:
    """A file that has its name before it is complete."""
    from pte_magic.api.snapshots import dataset_paths, parquet_writer  # noqa: PLC0415  (as above)

    write = parquet_writer.write

    def early(walker: Any, space: Any, directory: Path, went_on: Any, **named: Any) -> int:
        place = dataset_paths.of_process(directory, space.pid)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"PAR1")
        time.sleep(0.02)
        return write(walker, space, directory, went_on, **named)

    stack.enter_context(patch.object(parquet_writer, "write", early))


def loses_a_piece(stack: ExitStack) -> None:
    """A stream that loses one of its pieces."""
    import pte_magic  # noqa: PLC0415  (as above)

    stream = pte_magic.stream

    def wrong(*arguments: Any, **named: Any) -> Iterator[Any]:
        for number, piece in enumerate(stream(*arguments, **named)):
            if number != 3:
                yield piece

    stack.enter_context(patch("pte_magic.stream", wrong))


def names_as_they_are(stack: ExitStack) -> None:
    """Names that are shown as their owners like."""
    stack.enter_context(patch("pte_magic.linux.kernel_text.shown", lambda raw: raw.decode(errors="replace")))


def raises(stack: ExitStack) -> None:
    """A magic that has not thought of quotes."""
    from pte_magic.notebook.typed_words import plain  # noqa: PLC0415  (as above)

    def wrong(line: str) -> Any:
        if "'" in line:
            message = "No closing quotation"
            raise ValueError(message)
        return plain(line)

    stack.enter_context(patch("pte_magic.notebook.options_and_target.plain", wrong))


BROKEN: dict[str, Callable[[ExitStack], None]] = {
    "fuzzed_messages": tells_frames, "killed_clients": lies, "restarted_helper": lies, "bad_helper": believes,
    "storms": overlaps, "stopped": another_frame, "hidden_frames": tells_frames, "hidden_entries": hides_most,
    "damaged_snapshots": no_checksum, "killed_snapshots": in_place, "forks": loses_a_piece,
    "hostile_names": names_as_they_are, "typed_garbage": raises,
}  # fmt: skip


def apply(attack: str, stack: ExitStack) -> None:
    """Break what an attack is on, until the stack is unwound."""
    BROKEN[attack](stack)


def serve(how: str) -> None:
    """Be a helper that is broken; the rest of the command line is the helper's."""
    from pte_magic import cli  # noqa: PLC0415  (as above)
    from pte_magic.helper import requests  # noqa: PLC0415  (as above)

    read = requests.Tables.read

    def wrong(*arguments: Any, put: Any, **named: Any) -> Any:
        def take(entry: Any, spans: Any) -> None:
            entry = entry.copy()
            for at in (entry & 1).nonzero()[0][:1]:
                entry[at] ^= 1 << 13
            put(entry, spans)

        return read(*arguments, put=take, **named)

    if how == "tells_frames":
        broken: Any = patch.object(requests.Tables, "_hide", lambda *_: None)
    else:
        broken = patch.object(requests.Tables, "read", wrong)
    with broken:
        cli.main()


if __name__ == "__main__":
    serve(sys.argv.pop(1))
