"""All processes of this machine: what each maps, and whose each page frame is."""
