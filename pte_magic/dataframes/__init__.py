"""Plain functions on DataFrames of entries: columns, runs, kinds, differences."""
