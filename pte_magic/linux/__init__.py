"""The running system: its processor, its kernel, its processes, and what these tell in files and system calls."""
