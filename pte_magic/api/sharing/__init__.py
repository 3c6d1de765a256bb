"""Memory that processes share since a fork: which of them are compared, their pages, and the sums of these."""
