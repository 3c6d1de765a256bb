"""Hints what to type, for messages of SystemTap."""

from __future__ import annotations

import re

_HINTS = {
    r"need stap -g|guru mode": "type %%stap -g",
    r"MAXACTION exceeded": "type %%stap -D MAXACTION=100000, if a handler has to execute as many statements",
    r"check (MAX[A-Z]+)": r"type %%stap -D \1=… with a larger number than it has now",
    r"probe overhead .* exceeded": "type %%stap -D STP_NO_OVERLOAD, if the script may use all the time",
    r"transport failures|lost messages": "output was lost; type %%stap -s 64 for a buffer of 64 MiB per processor",
    r"(?:unresolved target-symbol expression|unable to find \w+ variable).*identifier '(\$\w+)'": (
        r"\1 is neither a variable of Python nor one of this probe point"
    ),
    r"(?s)cannot find module kernel debuginfo|symbol table missing.*identifier 'kprobe'.*no match": (
        "the places of the kernel's functions are in its debug information, which is not installed (on Debian: "
        "`sudo apt install linux-image-$(uname -r)-dbg`); tracepoints, as in kernel.trace(…), need none"
    ),
    r"mokutil --import (\S+)": (
        r"this kernel takes signed modules only (Secure Boot), and does not know SystemTap's key: type "
        r"`sudo mokutil --import \1`, boot again, confirm, and try again"
    ),
    r"[Kk]ey (?:was rejected|not available)|[Rr]equired key": (
        "this kernel takes signed modules only; `man stap`, --sign-module, says how to enroll SystemTap's key"
    ),
}


def hints(message: str) -> list[str]:
    """Return hints what to type for a message of SystemTap, each in brackets."""
    found = ((re.search(pattern, message), hint) for pattern, hint in _HINTS.items())
    return [f"({match.expand(hint)})" for match, hint in found if match]
