"""A run and its order of steps."""
