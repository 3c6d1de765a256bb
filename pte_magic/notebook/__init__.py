"""The magics: a line is read, and what it asks for is called."""
