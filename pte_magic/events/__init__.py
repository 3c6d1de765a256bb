"""Events of a process: page faults, and which lines ran."""
