"""Signing, deriving and sealing: the key ring, its file, and the JOSE it speaks."""
