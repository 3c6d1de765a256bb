"""Memory made in a known way, to look at, and a child process that reads and writes it on request.

Every array here is ``uint8``, one row per page: ``a[3, 0] = 1`` writes to page 3. Its memory is a mapping of its own
that begins at a page boundary. It is unmapped when the last array that uses it is gone, never before.

>>> from pte_magic.workloads import fork_with, private_mapping
>>> a = private_mapping(4)  # 4 pages that nobody has touched
>>> with fork_with(a) as child:
...     child.write(2)  # in its memory, not in ours
"""

from __future__ import annotations

from pte_magic.workloads.advice import collapse, page_out
from pte_magic.workloads.fork_with import Child, fork_with
from pte_magic.workloads.mappings import file_mapping, huge_array, hugetlb_array, private_mapping, shared_mapping
from pte_magic.workloads.nodes import move_to, nodes
from pte_magic.workloads.protection import Protection, ProtectionKey, protect, protection_key

__all__ = [
    "Child",
    "Protection",
    "ProtectionKey",
    "collapse",
    "file_mapping",
    "fork_with",
    "huge_array",
    "hugetlb_array",
    "move_to",
    "nodes",
    "page_out",
    "private_mapping",
    "protect",
    "protection_key",
    "shared_mapping",
]
