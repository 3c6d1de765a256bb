"""KSM, which merges equal pages: whether it has done so on this host."""

from __future__ import annotations

from contextlib import suppress

from pte_magic.linux import kernel_text


def has_merged() -> bool:
    """Tell whether there are merged pages, of any process (Documentation/admin-guide/mm/ksm.rst)."""
    with suppress(OSError):  # a kernel without KSM
        return int(kernel_text.read("/sys/kernel/mm/ksm/pages_shared")) > 0
    return False
