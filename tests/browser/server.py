"""A JupyterLab server of the tests' own: its folders are temporary, and nothing of it is left when they are done."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 300
"""It takes 3, or 30 on a busy machine."""

MARK = "PTE_MAGIC_BROWSER_TESTS"
"""A variable in the environment of all that is started here. It finds kernels, which are not in the server's group."""

OPTIONS = (
    "--allow-root",
    "--no-browser",
    "--expose-app-in-browser",  # as window.jupyterapp, whose commands the tests use
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port=0",  # a free one
    "--ServerApp.terminals_enabled=False",
    # Nothing asks the network.
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)

SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},  # a cell out of sight, too
    "docmanager-extension/plugin": {"autosave": False},
}


class Server(NamedTuple):
    """Where it answers, the folder of its notebooks, and the environment that marks what belongs to it."""

    url: str
    token: str
    root: Path
    environment: dict[str, str]


@contextmanager
def serving(user: int | None = None, **variables: str) -> Iterator[Server]:
    """Start a server; in the end it is gone, with its kernels and files, whatever happened.

    It is of a `user`, if that is not this one, in no other group than the one of the same number; and `variables` are
    in its environment.
    """
    with tempfile.TemporaryDirectory(prefix="pte-browser-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        places = {place: home / place for place in ("config", "data", "runtime", "ipython", "notebooks", "home")}
        for place in places.values():
            place.mkdir(mode=0o700)
        environment = os.environ | {
            MARK: name,
            "JUPYTER_CONFIG_DIR": str(places["config"]),
            "JUPYTER_DATA_DIR": str(places["data"]),  # the environment's own kernels and extensions are found besides
            "JUPYTER_RUNTIME_DIR": str(places["runtime"]),
            "IPYTHONDIR": str(places["ipython"]),
            "JUPYTER_TOKEN": secrets.token_hex(),
            "HOME": str(places["home"]),
            **variables,
        }
        for setting in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH"):
            environment.pop(setting, None)
        for plugin, values in SETTINGS.items():
            path = places["config"] / "lab" / "user-settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")
        if user is not None:
            home.chmod(0o755)
            for path in home.rglob("*"):
                os.chown(path, user, user)
        command = [sys.executable, "-m", "jupyterlab", *OPTIONS, f"--ServerApp.root_dir={places['notebooks']}"]
        # If the tests are killed, so is it, and kernels end when they see that. TERM comes once for each thread of a
        # parent that dies, and the second one lets the server hang.
        become = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all"]
        command = ["setpriv", "--pdeathsig", "KILL", *become, *command]
        log = home / "log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            ) as process,
        ):  # fmt: skip
            try:
                url = _url(places["runtime"] / f"jpserver-{process.pid}.json", process, log)
                yield Server(url, environment["JUPYTER_TOKEN"], places["notebooks"], environment)
            finally:
                _end(process, name)


def _url(path: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the file that a server writes when it listens."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["url"])
        except (FileNotFoundError, ValueError):  # not yet, or not whole
            time.sleep(0.1)
    message = f"JupyterLab did not start:\n{log.read_text(encoding='utf-8', errors='replace')}"
    raise RuntimeError(message)


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End a server, which ends its kernels, and kill what carries its mark and is still there."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    wanted = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)
        except OSError:  # another user's, or gone meanwhile
            continue
