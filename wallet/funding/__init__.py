"""What comes into a purse from outside, and what leaves it again."""
