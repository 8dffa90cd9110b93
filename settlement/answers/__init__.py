"""What the bank said, and what was made of it."""
