"""The running system: its processor, kernel and processes, as files and system calls show them."""
