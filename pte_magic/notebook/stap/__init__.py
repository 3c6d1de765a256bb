"""What is special about SystemTap in a cell: Python's values, places in messages, tables of what is printed."""
