"""Page faults by line and by variable."""
