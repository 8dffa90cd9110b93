"""The tables, a file for each concept. Whoever imports one has all of them, so that their foreign keys are known.

Invariant: what must never be false is a CHECK or a unique key here, so that a mistake anywhere else is refused by
the database instead of booked. Amounts are micros in 64-bit integers; instants are UTC; ids are UUIDv7.
"""

from wallet.tables import books, funding, merchants, people, purchases, purses, telling

__all__ = ["books", "funding", "merchants", "people", "purchases", "purses", "telling"]
