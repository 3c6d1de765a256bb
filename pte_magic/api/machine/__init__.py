"""All processes of this host: the memory that each maps, and the owner of each page frame."""
