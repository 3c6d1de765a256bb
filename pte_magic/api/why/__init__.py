"""Why memory is not on huge pages, is swapped out, or is on several nodes: checks, and the line that matters."""
