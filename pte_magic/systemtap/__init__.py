"""SystemTap: is it here, compile a script once, run it and always unload it. Knows nothing of page tables."""
