"""The comparison of two frames: common addresses, values before and after, and words for the changes."""
