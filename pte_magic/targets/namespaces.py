"""Names and their objects: of a dictionary, or of a notebook, with all that IPython and Python hold on to."""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

from pte_magic.errors import TargetError, arguments
from pte_magic.errors.escapes import visible
from pte_magic.targets import memory_in_attributes

_LAST = ("last_exc", "last_value", "last_traceback")  # of sys: the same error three times; last_exc since 3.12
_OF_IPYTHON = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[doi]h")  # results, inputs, directories: they are found below
_RESULT = re.compile(r"_{1,3}|_\d+")
_RESULTS = ("_", "__", "___")
_RESET_OUT = "type %reset -f out"
_NO_LAST = "type import sys; sys.last_exc = sys.last_value = sys.last_traceback = None"


class Held(NamedTuple):
    """A name and its object.

    Attributes:
        name: The name, or what to type for the object, such as ``Out[12]``.
        value: The object.
        keeper: The words for its holder, if it is not a variable of the user.
        release: The words that say how to release it.

    """

    name: str
    value: Any
    keeper: str = ""
    release: str = ""


def of_dictionary(namespace: Any) -> list[Held]:
    """Return the names of a dictionary, in its order; a key that is not text by its value in short.

    Raises:
        TargetError: It is not a dictionary.

    """
    if not issubclass(type(namespace), dict):
        message = f"{arguments.shown(namespace)} is not a dictionary of names; type vars(x) for the attributes of x"
        raise TargetError(message)
    return [
        Held(visible(str.__str__(key)) if issubclass(type(key), str) else arguments.shown(key), value)
        for key, value in list(dict.items(namespace))  # dict.copy() would ask a class that has its own __iter__
    ]


def of_notebook(shell: Any = None) -> tuple[list[Held], set[int]]:
    """Return the names of the notebook, or of the program; then what IPython and Python hold, which comes later.

    Args:
        shell: IPython's; by default the one that runs, if there is one.

    Returns:
        Them, and the addresses of the dictionaries that are the namespaces themselves.

    """
    shell = _shell() if shell is None else shell
    namespace = vars(sys.modules["__main__"]) if shell is None else shell.user_ns
    hidden = {} if shell is None else dict.copy(shell.user_ns_hidden)
    found = [
        one
        for one in of_dictionary(namespace)
        if not (one.name.startswith("__") and one.name.endswith("__"))
        and not (one.name in hidden and hidden[one.name] is one.value)
        and not (shell is not None and _OF_IPYTHON.fullmatch(one.name))
    ]
    beyond = {id(namespace)}
    if shell is not None:
        results = dict.copy(namespace.get("_oh", {}))
        beyond |= {id(namespace.get("_oh")), id(shell.user_ns_hidden)}
        found += [Held(f"Out[{at}]", value, "output history", _RESET_OUT) for at, value in results.items()]
        found += _left(namespace, hidden, memory_in_attributes.own(shell, "displayhook"))
        found.append(Held("In", namespace.get("_ih"), "input history", "type %reset -f in"))
    for name in _LAST:
        if (value := vars(sys).get(name)) is not None:
            found.append(Held(f"sys.{name}", value, "last error, and the variables of its frames", _NO_LAST))
    return found, beyond


def _left(namespace: dict[str, Any], hidden: dict[str, Any], hook: Any) -> list[Held]:
    """Return results in other places, of which %reset forgets two."""
    found = [Held(name, namespace[name], "last results", _RESET_OUT) for name in _RESULTS if name in namespace]
    for name, value in hidden.items():
        if _RESULT.fullmatch(name):
            where = f"get_ipython().user_ns_hidden.pop({name!r})"
            found.append(Held(f"hidden {name}", value, "a result that %reset leaves", f"type {where}"))
    for name in _RESULTS:
        if (value := memory_in_attributes.own(hook, name)) is not None:
            where = f"get_ipython().displayhook.{name} = None"
            found.append(Held(f"displayhook.{name}", value, "a result that %reset leaves", f"type {where}"))
    return found


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
