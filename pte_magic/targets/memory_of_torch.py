"""Memory of PyTorch's tensors, also of those that no protocol exports, such as sparse and quantised ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pte_magic.errors import TargetError
from pte_magic.errors.arguments import class_name
from pte_magic.targets import dlpack

if TYPE_CHECKING:
    from pte_magic.targets.blocks import Blocks


def look(thing: Any, found: Blocks) -> bool:
    """Add the addresses of a tensor's elements, or of the parts of a sparse one; false if it is not a tensor.

    Raises:
        TargetError: It has no memory, or not in this process.

    """
    torch: Any = sys.modules.get("torch")
    kind = type(thing)
    if not hasattr(torch, "jagged"):  # not imported, or only half
        return False
    if issubclass(kind, (torch.UntypedStorage, torch.TypedStorage)):
        _check(thing)
        found.add(thing.data_ptr(), thing.nbytes())
        return True
    if not issubclass(kind, torch.Tensor):
        return False
    _check(thing)
    if thing.layout is torch.sparse_coo:
        parts = [thing._indices(), thing._values()]  # noqa: SLF001  (the public ones want it to be coalesced)
    elif thing.layout in {torch.sparse_csr, torch.sparse_bsr}:
        parts = [thing.crow_indices(), thing.col_indices(), thing.values()]
    elif thing.layout in {torch.sparse_csc, torch.sparse_bsc}:
        parts = [thing.ccol_indices(), thing.row_indices(), thing.values()]
    elif thing.layout is torch.jagged:
        parts = [thing.offsets(), thing.values()]
    elif thing.is_nested:
        parts = [thing.untyped_storage()]
    else:
        size = thing.element_size()
        found.add_strided(thing.data_ptr(), thing.shape, [step * size for step in thing.stride()], size)
        return True
    for part in parts:
        look(part, found)
    return True


def _check(thing: Any) -> None:
    where = thing.device.type
    if where == "meta":
        message = f"the {class_name(thing)} is on the device meta, where tensors have no memory"
        raise TargetError(message)
    if where != "cpu":
        raise dlpack.elsewhere(thing, f"the device {thing.device}")
