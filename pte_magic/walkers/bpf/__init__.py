"""The eBPF walker: its program, what it is told of this machine, and how it is loaded."""
