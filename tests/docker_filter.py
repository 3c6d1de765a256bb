"""Starts a program that may call only what Docker lets a container call: docker_filter.py PROGRAM ...

The filter refuses, with EPERM, what moby's profiles/seccomp/default.json does not allow a program without capabilities,
on x86-64: of the system calls that a process could use for what it does to memory, to others, or to the kernel, and of
those that a capability guards anyway. (That file allows ptrace and process_vm_readv since kernel 4.8.)
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

REFUSED = {  # asm/unistd_64.h
    "mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239, "migrate_pages": 256, "move_pages": 279,
    "set_mempolicy_home_node": 450, "userfaultfd": 323, "process_madvise": 440, "perf_event_open": 298, "bpf": 321,
    "kcmp": 312, "pidfd_getfd": 438, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155,
    "chroot": 161, "init_module": 175, "finit_module": 313, "delete_module": 176, "swapon": 167, "swapoff": 168,
    "syslog": 103, "iopl": 172, "ioperm": 173, "add_key": 248, "request_key": 249, "keyctl": 250, "kexec_load": 246,
    "kexec_file_load": 320, "open_by_handle_at": 304, "fanotify_init": 300, "quotactl": 179, "acct": 163, "reboot": 169,
    "settimeofday": 164, "clock_settime": 227, "sethostname": 170, "setdomainname": 171, "vhangup": 153,
}  # fmt: skip
UNKNOWN = {"clone3": 435}
"""Answered by ENOSYS, so that the C library uses clone(2)."""

_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h


def program() -> bytes:
    """Return the filter: an array of struct sock_filter."""
    lines = [(_LOAD, 0, 0, 0)]  # seccomp_data.nr
    for calls, error in ((REFUSED, errno.EPERM), (UNKNOWN, errno.ENOSYS)):
        for number in calls.values():
            lines += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | error)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def main() -> None:
    """Filter, and become the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = program()
    buffer = ctypes.create_string_buffer(code, len(code))
    prog = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    for words in ((_NO_NEW_PRIVS, 1, 0, 0, 0), (_SECCOMP, _FILTER, ctypes.c_char_p(prog), 0, 0)):
        if libc.prctl(*words):
            sys.exit(os.strerror(ctypes.get_errno()))
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  (it is what this is for)


if __name__ == "__main__":
    main()
