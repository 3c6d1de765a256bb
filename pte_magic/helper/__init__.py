"""The helper: walks page tables for processes without privileges, on the strength of the descriptor they send it."""
