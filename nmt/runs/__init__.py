"""A run directory: what passes between the commands, found and read in one place."""
