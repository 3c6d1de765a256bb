"""Compiles for kernels, in the lab's root, what their guests will load: precompile.py [options] RELEASE..."""

from __future__ import annotations

import argparse
import io
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import cells
import documents
import shell_scripts

from pte_magic.linux import hardware
from pte_magic.systemtap import module_cache
from pte_magic.walkers import stap


def main() -> None:
    """Compile what was not compiled before; say how long it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--machine", default=hardware.machine(), choices=sorted(shell_scripts.FOR))
    parser.add_argument("--few", action="store_true", help="of cells only those of tests that run in each kernel")
    parser.add_argument("release", nargs="*")
    options = parser.parse_args()
    machine, here = options.machine, options.machine == hardware.machine()
    scripts = [stap.script(), *shell_scripts.scripts(machine)]
    if not here:
        scripts += cells.scripts(cells.OTHERS)
    elif options.few:
        scripts += cells.scripts(cells.FEW)
    else:
        scripts += [*cells.scripts(), *documents.scripts()]
    for release in options.release:
        began = time.monotonic()
        missing = [script for script in scripts if not module_cache.kept(script, release, machine)]
        with redirect_stderr(io.StringIO()):  # how long each takes, every second
            for script in missing:
                module_cache.compiled(script, release, machine=machine)
            if here:
                shell_scripts.compile_as_a_person_would(release)
        if missing:
            sys.stdout.write(f"{release}: {len(missing)} modules compiled in {time.monotonic() - began:.0f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
