"""Formats of page-table entries as data: the meaning of each bit."""
