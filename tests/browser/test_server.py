"""What the tests of this folder start is gone afterwards, also if they fail."""

from __future__ import annotations

import json
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from server import MARK, Server, serving
from waiting import wait_until


def ask(server: Server, path: str, data: object = None) -> Any:
    asked = urllib.request.Request(  # noqa: S310  (it is http)
        f"{server.url}api/{path}",
        None if data is None else json.dumps(data).encode(),
        {"Authorization": f"token {server.token}"},
    )
    with urllib.request.urlopen(asked, timeout=300) as answer:  # noqa: S310
        return json.load(answer)


def marked(mark: str) -> set[str]:
    """Return the command lines of the processes that belong to a server."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found.add((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # gone meanwhile
            continue
    return found


def test_no_process_and_no_file_is_left_of_a_server_and_its_kernels_when_a_test_fails() -> None:
    with suppress(ZeroDivisionError), serving() as server:
        home = server.environment[MARK]
        ask(server, "kernels", {"name": "python3"})
        running = marked(home)
        assert any("jupyterlab" in line for line in running)
        assert any("ipykernel_launcher" in line for line in running)
        raise ZeroDivisionError
    wait_until(lambda: not marked(home), instead=lambda: str(marked(home)))  # who was killed is gone a moment later
    assert not Path(home).exists()
