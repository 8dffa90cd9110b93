"""The sandbox bank, tested by its files: what goes in, what comes out, what its books hold."""
