"""Dropped privileges: once its walker is loaded, the helper gives up every capability."""

from __future__ import annotations

import ctypes
import functools
import operator
import os
import sys
from contextlib import suppress
from errno import EINVAL, EPERM
from pathlib import Path

from pte_magic.errors import NoProcError
from pte_magic.helper.policy import HelperError
from pte_magic.linux import kernel_text, libc, system_calls

# linux/prctl.h
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_NOBODY_ELSE = 0xFFFFFFFE  # no user: -2 as an unsigned number is the last one that a file may belong to
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_CLOSE_RANGE_UNSHARE = 2  # linux/close_range.h, since 5.9

_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
NO_THREADS = dict.fromkeys((*_BLAS, "NUMEXPR_NUM_THREADS"), "1") | {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Variables that keep libraries of numpy and pandas from starting threads: BLAS, numexpr, Arrow's jemalloc."""


def have_one_thread() -> None:
    """Start this program again if libraries started threads: each thread would have to drop privileges itself.

    Raises:
        HelperError: There are threads again.
        NoProcError: There is no /proc, which lists them.

    """
    try:
        first = Path("/proc/self").readlink().name  # its number there, of whatever pid namespace that is
        others = [task.joinpath("comm") for task in Path("/proc/self/task").iterdir() if task.name != first]
    except OSError as error:
        raise NoProcError(os.getpid()) from error
    if not others:
        return
    if NO_THREADS.items() <= os.environ.items():
        names = ", ".join(kernel_text.shown(kernel_text.read(path).removesuffix(b"\n")) for path in others)
        message = f"threads of libraries ({names}) would keep the privileges; please report this"
        raise HelperError(message)
    os.environ.update(NO_THREADS)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  (this program again)


def drop() -> None:
    """Give up every capability for good, of this thread and those that it will start.

    Root's effective user becomes an unused one: a process of root may change root's files even without capabilities, as
    in a container.

    BPF_PROG_TEST_RUN needs none since 5.19 (c8644cd0efe7 "bpf: refine kernel.unprivileged_bpf_disabled behaviour"):
    holding the program's descriptor is enough. Nor does anything else that the helper does from now on.

    Raises:
        OSError: The kernel let it keep one.

    """
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    with suppress(OSError):
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            libc.prctl(_PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno in (EINVAL, EPERM):
                break  # there are no more, or this is not root, which could not get any of them back
    if os.geteuid() == 0:
        with suppress(OSError):  # this number does not exist in a user namespace
            os.setresuid(0, _NOBODY_ELSE, 0)
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    libc.call("capset", ctypes.addressof(header), ctypes.addressof(none))
    # Nobody of the same user reads its memory, or takes its descriptors.
    libc.prctl(_PR_SET_DUMPABLE, 0)
    if left := held():
        message = f"capabilities {left:#x} could not be dropped"
        raise OSError(EPERM, message)


def own_files_again() -> None:
    """Give this thread the file permissions of the user who started the program, to remove files that it has made.

    seteuid(2) would wait for all threads, of which one may hang. The filter of the unit refuses setfsuid(2), too; a
    service that systemd started has made no file.
    """
    with suppress(OSError):
        libc.call("setfsuid", os.getuid())


def held() -> int:
    """Return the capabilities that this thread has, may take or passes on, as a mask."""
    status = kernel_text.fields(kernel_text.read("/proc/thread-self/status"))
    return functools.reduce(operator.or_, (int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Amb")))


def own_descriptors(first: int) -> None:
    """Give this thread a table of descriptors of its own, without those from `first` on.

    Raises:
        OSError: The kernel refuses it.

    """
    system_calls.call("close_range", first, 0xFFFFFFFF, _CLOSE_RANGE_UNSHARE)
