"""Page maps: ranges of addresses, or of physical memory, as pictures with a cell for each entry."""
