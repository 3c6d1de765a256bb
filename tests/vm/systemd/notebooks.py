"""JupyterLab as a user starts it, and a notebook's kernel of it: asked as the page in the browser asks."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from fresh import as_user, home
from jupyter_client.blocking.client import BlockingKernelClient
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 500.0
"""JupyterLab imports much: a minute in a guest, on a busy machine more."""


class Notebook:
    """A kernel that JupyterLab has started, in which cells are run."""

    def __init__(self, connection: Path) -> None:
        self._client = BlockingKernelClient(connection_file=str(connection))
        self._client.load_connection_file()
        self._client.start_channels(hb=False)  # a busy machine lets hearts miss a beat
        self._client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str) -> str:
        """Run a cell; return what it prints and shows, as text. An exception in it fails the test."""
        shown = []

        def take(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                shown.append(content["text"])
            elif message["msg_type"] in ("display_data", "execute_result"):
                shown.append(content["data"]["text/plain"])

        done = self._client.execute_interactive(code, timeout=SECONDS, output_hook=take)
        assert done["content"]["status"] == "ok", done["content"]
        return "".join(shown)

    def close(self) -> None:
        self._client.stop_channels()


@contextmanager
def notebook(user: str, command: str) -> Iterator[Notebook]:
    """Start JupyterLab by a user's line of shell, and a kernel as for a new notebook; end both."""
    runtime = home(user) / ".local/share/jupyter/runtime"
    log = home(user) / "jupyter.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            as_user(user, f"exec {command}"), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: _server(runtime) or process.poll() is not None, instead=log.read_text, seconds=SECONDS)
        server = _server(runtime)
        assert server, log.read_text(encoding="utf-8")
        started = _post(f"{server['url']}api/kernels", server["token"])
        made = Notebook(runtime / f"kernel-{started['id']}.json")
        try:
            yield made
        finally:
            made.close()
    finally:
        process.terminate()  # it ends the server, and the server its kernels
        process.wait(SECONDS)


def _server(runtime: Path) -> dict[str, Any] | None:
    """Return what the file of a server says, if there is one that listens: it is written before."""
    for path in runtime.glob("jpserver-*.json"):
        with suppress(ConnectionRefusedError, ValueError):
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            socket.create_connection(("127.0.0.1", found["port"])).close()
            return found
    return None


def _post(url: str, token: str) -> dict[str, Any]:
    asked = urllib.request.Request(url, data=b"{}", headers={"Authorization": f"token {token}"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310
        got: dict[str, Any] = json.load(answer)
    return got
