"""What a person can name, and the addresses for which it stands."""
