"""Page maps: ranges of addresses, or physical memory, as pictures with a square per entry."""
