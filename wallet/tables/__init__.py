"""The tables, a file for each concept, and what must never be false about them."""
