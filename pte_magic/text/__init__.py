"""Words that people read and type: nothing here knows of page tables, or of Python objects."""
