"""Snapshots: the raw entries of many processes as a Parquet data set, and the way back."""
