"""Purses: what is in one, what it may spend, how it went."""
