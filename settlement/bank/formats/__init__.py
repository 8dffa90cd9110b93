"""What bank files look like: written for the bank, and read from it, safely."""
