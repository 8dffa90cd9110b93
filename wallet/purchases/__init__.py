"""From an order to the money owed to its merchant, and back again."""
