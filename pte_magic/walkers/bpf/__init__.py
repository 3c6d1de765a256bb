"""The eBPF walker: its program, the constants for it, and its loader."""
