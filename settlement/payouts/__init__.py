"""What is owed to whom: how much is due, what is cut, what waits."""
