"""SystemTap in a cell: Python's values, places in messages, tables of output."""
