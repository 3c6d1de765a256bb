"""Columns of entries, as plain functions on DataFrames."""
