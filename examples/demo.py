"""Runs the first tutorial without a browser and prints its cells and what they show."""

from __future__ import annotations

import sys

from execute import HERE, executed

from pte_magic import doctor


def main() -> None:
    """Execute the notebook; an assertion that fails in it ends the demo with its traceback."""
    for cell in executed(HERE / "01_first_pte.ipynb").cells:
        if cell.cell_type == "markdown":
            print(f"\n{cell.source}")
            continue
        print("\n".join(f">>> {line}" for line in cell.source.splitlines()))
        for output in cell.outputs:
            print(output.get("text") or output.get("data", {}).get("text/plain", ""), end="\n")
    if "but no" in (told := doctor().attrs["sees"]):
        print(f"\n{told}\nThe table at the top, which `%pte` shows, says what to type to see more.", file=sys.stderr)


if __name__ == "__main__":
    main()
