"""The helper: walks page tables for processes without privileges, by the pagemap descriptors that they send."""
