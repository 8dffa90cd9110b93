"""The books: the ledger, and what was answered under which key."""
