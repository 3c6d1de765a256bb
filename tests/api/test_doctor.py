"""What doctor() says where something is missing: made to be missing, in a namespace of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from conftest import NOBODY, WALKERS, needs_root, python
from serving import serving

import pte_magic
from pte_magic import walkers
from pte_magic.api.doctor import Report
from pte_magic.errors import WalkerUnavailableError
from pte_magic.linux.address_bits import AddressBits
from pte_magic.walkers import helper_protocol
from pte_magic.walkers.bpf import libbpf
from pte_magic.walkers.pagemap import PagemapWalker

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Helper

SHOW = """
import json
import numpy as np
import pte_magic
memory = np.ones(8192, np.uint8)
frame = pte_magic.walk(memory)
told = pte_magic.doctor()
try:
    pte_magic.walk(memory, walker="bpf")
    raised = ""
except pte_magic.PteMagicError as error:
    raised = str(error)
print(json.dumps({
    "sentence": " ".join(repr(told).partition("\\nwalker ")[0].split()),
    "html": told._repr_html_(),
    "rows": told.to_dict("records"),
    "used": sorted(frame["walker"].unique()),
    "states": sorted(frame["state"].unique()),
    "frames": int(frame["pfn"].notna().sum()),
    "entries": int(frame["entry"].notna().sum()),
    "raised": raised,
}))
"""
SEEN = {
    (True, True): "raw entries and page frames",
    (True, False): "raw entries, but no page frames",
    (False, True): "page frames, but no raw entries",
    (False, False): "which pages are present, but no raw entries or page frames",
}
BY = {"bpf": "eBPF", "helper": "the helper", "pagemap": "/proc/PID/pagemap"}
NOTES = """
import json
import pte_magic
print(json.dumps({row.walker: row.note for row in pte_magic.doctor().itertuples()}))
"""
NO_BTF = 'mount -t tmpfs none /sys/kernel/btf\nexec "$@"'
TWO_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf,+perfmon")
NO_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")


def shown(*before: str, user: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(python(SHOW, *before, user=user))
    found |= {row["walker"]: row for row in found["rows"]}
    return found


def in_namespace(*commands: str) -> tuple[str, ...]:
    """Return the words that run a program after some commands in a mount namespace of its own."""
    return ("unshare", "--mount", "sh", "-ec", "\n".join([*commands, 'exec "$@"']), "sh")


def names_commands_that_exist(found: dict[str, Any]) -> None:
    """What the notes tell to type is there, by its whole path: sudo would not find what is in a virtual environment."""
    commands = [line for row in found["rows"] for line in re.findall(r"`sudo (.*?)`", row["note"])]
    assert commands
    for words in map(shlex.split, commands):
        assert os.access(words[0], os.X_OK), words
        done = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def must_use_pagemap(found: dict[str, Any], reason: str) -> None:
    assert [row["walker"] for row in found["rows"]] == list(walkers.NAMES)
    assert (found["bpf"]["works"], found["pagemap"]["works"]) == (False, True)
    assert re.search(reason, found["bpf"]["note"]), found["bpf"]["note"]
    assert found["raised"] == f"walker 'bpf' cannot work here: {found['bpf']['note']}"
    assert found["bpf"]["note"].count("\n") == 0
    assert found["used"] == ["pagemap"]
    assert found["states"] == ["present"]
    assert found["entries"] == 0


def test_every_walker_that_there_is_has_its_words() -> None:
    table = pte_magic.doctor()
    assert list(table["sees"]) == [kind.sees for kind in walkers.KINDS]
    assert len({(kind.sees, kind.by) for kind in walkers.KINDS}) == len(walkers.NAMES)
    assert {kind.name: kind.by for kind in walkers.KINDS if kind.name in BY} == BY


def test_a_new_walker_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind(PagemapWalker):
        name, sees, by = "blind", "what the one below sees", "a test"
        frames_as_pagemap, address_bits = False, AddressBits(frames_hidden=True)

        @classmethod
        def why_no_frames(cls) -> str:
            return "close your eyes no more"

    class Missing(Blind):
        name, sees, by = "missing", "nothing", "nothing"

        @classmethod
        def make(cls, *, patient: bool = False) -> Missing:
            raise WalkerUnavailableError(cls.name, f"{'patient' if patient else 'in haste'}, it never works")

    walkers.close()
    for kind in (Blind, Missing):
        monkeypatch.setattr(walkers, "KINDS", (kind, *walkers.KINDS))
        monkeypatch.setattr(walkers, "NAMES", (kind.name, *walkers.NAMES))
        monkeypatch.setitem(walkers._MAKERS, kind.name, kind.make)
    try:
        told = pte_magic.doctor()
        assert told.to_dict("records")[:2] == [
            {"walker": "missing", "works": False, "sees": "nothing", "note": "in haste, it never works"},
            {"walker": "blind", "works": True, "sees": Blind.sees, "note": "close your eyes no more"},
        ]
        assert repr(told).startswith(f"You see {SEEN[False, False]}, by a test (walker blind).\n")
        assert pte_magic.entries(b"x" * 9999).walker == "blind"
    finally:
        walkers.close()


def test_has_a_row_for_every_walker() -> None:
    table = pte_magic.doctor()
    assert list(table["walker"]) == list(walkers.NAMES)
    assert list(table.columns) == ["walker", "works", "sees", "note"]
    assert (table["works"] | (table["note"] != "")).all()


@needs_root
def test_root_can_use_everything(helper: Helper) -> None:
    found = shown("env", f"{helper_protocol.VARIABLE}={helper.path}")
    assert [(row["works"], row["note"]) for row in found["rows"] if row["walker"] in WALKERS] == [(True, "")] * len(
        WALKERS
    )
    assert (found["used"], found["raised"]) == (["bpf"], "")
    assert found["frames"] == found["entries"] > 0


@needs_root
def test_kernel_without_type_information_is_told_apart() -> None:
    found = shown(*in_namespace("mount -t tmpfs none /sys/kernel/btf"))
    must_use_pagemap(found, r"no type information \(/sys/kernel/btf/vmlinux\).*CONFIG_DEBUG_INFO_BTF=y")
    assert found["frames"] > 0


@needs_root
def test_missing_library_is_named_with_what_to_type(tmp_path: Path) -> None:
    libbpf.library()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    paths = set(re.findall(r"/\S*libbpf\.so\S*", maps))
    assert paths
    (tmp_path / "empty").touch()
    found = shown(*in_namespace(*(f"mount --bind {tmp_path / 'empty'} {path}" for path in paths)))
    must_use_pagemap(found, r"libbpf\.so\.1 is not installed; type `apt install libbpf1`")


@needs_root
def test_lockdown_is_named(tmp_path: Path) -> None:
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    commands = [
        "mount -t tmpfs none /sys/kernel/security",
        f"cp {tmp_path / 'lockdown'} /sys/kernel/security/lockdown",
    ]
    # A kernel stays locked down until it is booted again, so loading is made to fail by missing capabilities.
    found = shown(*in_namespace(*commands), *NO_CAPABILITIES)
    must_use_pagemap(found, r"locked down \(confidentiality.*lockdown=integrity")


@needs_root
def test_nobody_has_no_permission_and_sees_no_frames() -> None:
    found = shown(user=NOBODY)
    must_use_pagemap(found, r"^no permission to load eBPF programs.*; a helper may: type `sudo .*/pte-magic serve ")
    assert found["frames"] == 0
    assert re.search(r"no page frame numbers.*CAP_SYS_ADMIN", found["pagemap"]["note"])
    names_commands_that_exist(found)


@needs_root
def test_nobody_with_a_helper_sees_raw_entries_and_is_told_how_to_see_frames(helper: Helper) -> None:
    found = shown("env", f"{helper_protocol.VARIABLE}={helper.path}", user=NOBODY)
    assert found["helper"]["works"]
    assert found["used"] == ["helper"]
    assert found["entries"] > 0
    assert found["frames"] == 0
    assert re.search(
        r"no page frame numbers.*`sudo .*/pte-magic serve --socket .* --frames \S+`", found["helper"]["note"]
    )
    names_commands_that_exist(found)


@needs_root
@pytest.mark.parametrize(
    ("before", "user", "options"),
    [
        pytest.param((), None, None, id="root"),
        pytest.param((), NOBODY, None, id="nobody"),
        pytest.param((), NOBODY, ("--group", str(NOBODY)), id="helper"),
        pytest.param((), NOBODY, ("--group", str(NOBODY), "--frames", str(NOBODY)), id="helper-frames"),
        pytest.param(("unshare", "--mount", "sh", "-ec", NO_BTF, "sh"), None, None, id="root-without-ebpf"),
        pytest.param(NO_CAPABILITIES, None, None, id="root-of-a-container"),
        pytest.param(TWO_CAPABILITIES, None, None, id="two-capabilities"),
    ],
)
def test_the_first_sentence_is_true(before: tuple[str, ...], user: int | None, options: tuple[str, ...] | None) -> None:
    with serving(*options) if options else nullcontext() as helper:
        found = shown(
            "env", f"{helper_protocol.VARIABLE}={helper.path if helper else '/nonexistent'}", *before, user=user
        )
    (used,) = found["used"]
    sentence = f"You see {SEEN[found['entries'] > 0, found['frames'] > 0]}, by {BY[used]} (walker {used})."
    assert found["sentence"] == sentence
    assert f"<p>{sentence}</p>" in found["html"]


@needs_root
def test_root_without_capabilities_as_in_a_container_has_no_permission() -> None:
    found = shown(*NO_CAPABILITIES)
    must_use_pagemap(found, r"^no permission to load eBPF programs \(CAP_BPF and CAP_PERFMON\), as in a container; ")
    assert found["frames"] == 0
    assert "CAP_SYS_ADMIN" in found["pagemap"]["note"]


@needs_root
def test_the_two_capabilities_that_the_note_names_are_enough() -> None:
    found = shown(*TWO_CAPABILITIES)
    assert found["bpf"]["works"], found["bpf"]["note"]
    assert found["used"] == ["bpf"]
    assert found["entries"] > 0
    assert "CAP_SYS_ADMIN" in found["pagemap"]["note"]


@needs_root
def test_one_of_the_two_capabilities_is_not_enough() -> None:
    for capability in ("bpf", "perfmon"):
        found = shown("setpriv", "--inh-caps=-all", f"--bounding-set=-all,+{capability}")
        assert not found["bpf"]["works"]
        assert "CAP_BPF and CAP_PERFMON" in found["bpf"]["note"], found["bpf"]["note"]


@needs_root
def test_proc_that_shows_another_process_as_this_one_is_noticed() -> None:
    found = shown(*in_namespace(f"mount --bind /proc/{os.getpid()} /proc/$$"))
    assert "/proc/self/pagemap is not this process' own" in found["bpf"]["note"]
    assert found["used"] == ["pagemap"]


@pytest.mark.parametrize("show", [repr, lambda report: report._repr_html_()], ids=["text", "html"])
def test_what_to_type_is_never_cut(show: Callable[[Report], str]) -> None:
    story, typed = "start " + "a long story " * 20 + "end; type ", "sudo " + "/a/long/path" * 9 + "/pte-magic serve"
    report = Report({"walker": ["bpf"], "works": [False], "sees": ["nothing"], "note": [f"{story}`{typed}`"]})
    shown = show(report)
    assert typed in shown
    assert " ".join(story.split()) in " ".join(shown.split())
    assert typed in show(report[["note"]])


def test_the_walkers_fit_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    report = pte_magic.doctor()
    monkeypatch.setenv("COLUMNS", "80")
    shown = repr(report)
    assert max(len(line) for line in shown.splitlines() if "`" not in line) <= 80
    words = " ".join(shown.split())
    for row in report.to_dict("records"):
        assert f"{row['walker']} {'?' if row['works'] is pd.NA else 'yes' if row['works'] else 'no'} " in words
        assert f"{row['sees']} {row['note']}".strip() in words


@pytest.mark.skipif("stap" in WALKERS, reason="needs a kernel that loads no modules")
def test_a_kernel_without_modules_has_no_systemtap() -> None:
    told = pte_magic.doctor().set_index("walker").loc["stap"]
    assert not told["works"]
    assert told["note"] == "this kernel loads no modules (CONFIG_MODULES is off)"


@needs_root
@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (
            "i686",
            r"32-bit kernel may lie in high memory, which no eBPF.*; type `%pte --walker stap self`",
        ),
        ("riscv64", r"^the page tables of riscv64 are not known; those of x86_64, i686 and aarch64 are$"),
    ],
)
def test_another_machine_is_told_in_one_line(tmp_path: Path, machine: str, reason: str) -> None:
    (tmp_path / "arch").write_text(f"{machine}\n")
    told = json.loads(python(NOTES, *in_namespace(f"mount --bind {tmp_path / 'arch'} /proc/sys/kernel/arch")))
    assert re.search(reason, told["bpf"]), told["bpf"]
