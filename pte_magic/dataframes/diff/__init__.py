"""Two frames compared: their addresses laid upon each other, values before and after, and the words for changes."""
