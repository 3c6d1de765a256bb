"""SystemTap: compiles a script once, runs it, and always unloads it. Nothing here is about page tables."""
