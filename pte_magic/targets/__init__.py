"""Targets: everything that a user can name, and the addresses behind it."""
