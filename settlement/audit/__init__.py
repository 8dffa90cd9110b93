"""The books recomputed from their rows, and how that ended."""
