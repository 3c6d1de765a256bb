"""Scripts that tests run as from a shell, with staprun; compiled before the guest is booted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from pte_magic.systemtap import modules, toolchain

ADDRESS = 0x600000000000
"""Where tests of dump_pte.stp map memory: an address is part of what is compiled."""

DUMP_PTE = modules.Script(
    (toolchain.SCRIPTS / "dump_pte.stp").read_text(encoding="utf-8"),
    "dump_pte",
    options=("-g",),
    arguments=(hex(ADDRESS),),
    include=(),
)

VALUES = (
    *(0x0, 0x1, 0x25, 0x67, 0x867, 0x8000000153016067, 0x8000000153016867, 0x80000001530008E7),
    *(0x800000011A400865, 0x400000011A400025, 0x800000011A400A67, 0x800000011A400467, 0x7800000000000067),
    *(0x7FFFFFFEACFE9960, 0xFFFFFFFEACFE9960, 0x7FFFFFFEACFE9860, 0x3FFFFFFFFFDB600, 0x3FFFFFFFFFDB60A),
    *(0x3FFFFFFFFFDB604, 0xF3FFFFFFFFFDB600, 0x100, 0x8000000000000025, 0x1F, 0x200, 0x800, 0xD3FFFFFFFFF00000),
)
"""Raw entries, for what the kernel's own macros make of them."""

# A function, which the compiler does not put into its caller 26 times, takes seconds to compile instead of minutes.
FLAGS = modules.Script(
    """function show(entry) {
    printf("%d|%x|%s\\n", pte_present(entry), pte_frame(entry, 4096), pte_flags_str(entry))
}
probe begin {
"""
    + "".join(f"show({value - (value >> 63 << 64)})\n" for value in VALUES)
    + "exit()\n}\n",
    "pte_flags",
)

SCRIPTS = (DUMP_PTE, FLAGS)

SHELL = ("stap", "-g", "dump_pte.stp")
"""As README and the script itself say, in the script's directory."""


def environment() -> dict[str, str]:
    """Return the environment in which stap finds in a guest what it compiled in the root.

    Its cache goes by the size of its own directories, too, which is not the same on all file systems. So it is shown a
    copy of them that the root and the guests share.
    """
    copy = Path(os.environ["SYSTEMTAP_DIR"]).with_name("systemtap-runtime")
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=copy.parent) as part:
            made = Path(part, "made")
            shutil.copytree("/usr/share/systemtap/runtime", made)
            with suppress(OSError):  # another process was quicker
                made.rename(copy)
    return os.environ | {"SYSTEMTAP_RUNTIME": str(copy)}


def compile_as_a_person_would(release: str) -> None:
    """Have stap compile dump_pte.stp into its own cache, in which it looks when somebody types the same in a guest."""
    module = modules.kept(DUMP_PTE, release)
    assert module
    done = module.with_name("as-typed")
    if done.exists():
        return
    # It looks which program the target runs.
    command = [*SHELL, "-x", str(os.getpid()), "-p4", "-r", release, hex(ADDRESS)]
    stap = subprocess.run(
        command, cwd=toolchain.SCRIPTS, env=environment(), capture_output=True, text=True, check=False
    )
    if stap.returncode:
        raise RuntimeError(stap.stderr)
    done.touch()
