"""Words that people read and type. Nothing here is about page tables, or about Python objects."""
