"""Page maps: ranges of addresses, or physical memory, as pictures of squares of as many bytes or entries."""
