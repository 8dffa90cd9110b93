"""The HTTP interface of the wallet: each call parses, calls one verb, and dumps what it answered."""
