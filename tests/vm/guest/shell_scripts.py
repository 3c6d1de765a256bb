"""Scripts that tests run as from a shell, with staprun; compiled before the guest is booted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pte_magic.linux import hardware
from pte_magic.systemtap import module_cache, toolchain
from pte_magic.systemtap.script import Script


class For(NamedTuple):
    """What the scripts have to do with on one kind of machine.

    Attributes:
        address: Where tests of dump_pte.stp map memory: an address is part of what is compiled.
        values: Raw entries, for what the kernel's own macros make of them.

    """

    address: int
    values: tuple[int, ...]


FOR = {
    "x86_64": For(
        0x600000000000,
        (
            *(0x0, 0x1, 0x25, 0x67, 0x867, 0x8000000153016067, 0x8000000153016867, 0x80000001530008E7),
            *(0x800000011A400865, 0x400000011A400025, 0x800000011A400A67, 0x800000011A400467, 0x7800000000000067),
            *(0x7FFFFFFEACFE9960, 0xFFFFFFFEACFE9960, 0x7FFFFFFEACFE9860, 0x3FFFFFFFFFDB600, 0x3FFFFFFFFFDB60A),
            *(0x3FFFFFFFFFDB604, 0xF3FFFFFFFFFDB600, 0x100, 0x8000000000000025, 0x1F, 0x200, 0x800, 0xD3FFFFFFFFF00000),
        ),
    ),
    # With PAE and without: what is inverted in one, and swap entries, the other would never write.
    "x86_32": For(0x60000000, (0x0, 0x1, 0x25, 0x67, 0x12345067, 0x12345005, 0x7FFFF025, 0x12345265, 0xFFFFF167)),
    # Before 6.10 and since: what protnone is in one, is a swap entry in the other.
    "arm64": For(
        0x600000000000,
        (
            *(0x0, 0xE80000558A7C43, 0xE00000558A7CC3, 0x160000041508CC3, 0xF8000059390C43, 0x68000059390C43),
            *(0x20000059390C83, 0x60000059390883, 0xE80000558A4C03, 0xE80000558A4443, 0xEC0000558A4C43),
            *(0xE00000558A4C82, 0x4E00000558A4482, 0x1004, 0x400004, 0x1C0004711000, 0x7040, 0x47110018, 0x471100F8),
        ),
    ),
}
"""By name of the machine, as of `hardware.machine`."""


def dump_pte(machine: str) -> Script:
    text = (toolchain.SCRIPTS / "dump_pte.stp").read_text(encoding="utf-8")
    return Script(text, "dump_pte", ("-g",), (hex(FOR[machine].address),), include=())


def flags(machine: str) -> Script:
    """Return a script that prints what the tapset says of all values.

    In a loop: the compiler puts a function into its caller each time that it is called, which takes half a minute.
    """
    of = FOR[machine]
    lines = "".join(f"    if (i == {i}) return {value - (value >> 63 << 64)}\n" for i, value in enumerate(of.values))
    return Script(
        f"""function value(i) {{
{lines}}}
probe begin {{
    for (i = 0; i < {len(of.values)}; i++) {{
        entry = value(i)
        printf("%d|%x|%s\\n", pte_present(entry), pte_frame(entry, %{{ PAGE_SIZE %}}), pte_flags_str(entry))
    }}
    exit()
}}
""",
        "pte_flags",
        ("-g",),
    )


def entries(machine: str) -> Script:
    """Return a script that prints what the tapset says of three pages of its target, and of a huge one."""
    at = f"{FOR[machine].address:#x}"
    return Script(
        f"""function show(address) {{
    task = pid2task(target())
    entry = pte_of(task, address)
    size = pte_size(task, address)
    printf("%d|%s|%d|%d|%d\\n", entry, pte_level(task, address), size, pte_present(entry), pte_frame(entry, size))
}}
probe begin {{
    for (i = 0; i < 3; i++)
        show({at} + i * %{{ PAGE_SIZE %}})
    show({at} + %{{ PMD_SIZE %}})
    exit()
}}
""",
        "pte_entries",
        ("-g",),
    )


def scripts(machine: str) -> tuple[Script, ...]:
    return dump_pte(machine), flags(machine), entries(machine)


ADDRESS, VALUES = FOR[hardware.machine()][:2]
DUMP_PTE, FLAGS, ENTRIES = scripts(hardware.machine())

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
    module = module_cache.kept(DUMP_PTE, release)
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
