"""Variables and their memory: `variables`, and all else of the process' resident memory by owner."""
