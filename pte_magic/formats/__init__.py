"""Formats of page-table entries: what the bits mean, as data."""
