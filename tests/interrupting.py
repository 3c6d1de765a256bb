"""Python for a child that interrupts itself at any moment."""

from __future__ import annotations

AT_ANY_MOMENT = """
import os, signal, sys, mmap
signal.signal(signal.SIGINT, signal.default_int_handler)
import pte_magic
from pte_magic.api import progress

class Interrupting:
    '''Interrupts at the event of a number: a call or a line, or an instruction where descriptors are opened and closed.

    Not at each line of who has locks: at that of `with` a tracer is called once more when the block ends, before the
    lock is released. There Python looks for no signals, so no interrupt comes.
    '''

    def __init__(self, number, where, fine=()):
        self.left, self.where, self.fine = number, where, fine

    def __call__(self, frame, event, argument):
        name = frame.f_code.co_filename
        if not any(part in name for part in self.where):
            return None
        frame.f_trace_opcodes = any(part in name for part in self.fine)
        if event in ("call", "opcode") or (event == "line" and "walkers" not in name):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
        return self

def interrupted(do, number, where, fine=()):
    '''Tell whether it was: else it has fewer events.'''
    tracer = Interrupting(number, where, fine)
    sys.settrace(tracer)
    try:
        do()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return tracer.left <= 0

def descriptors():
    return sorted(os.listdir("/proc/self/fd"))
"""
