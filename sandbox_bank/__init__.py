"""The sandbox bank: a small, strict bank to settle against, with books of its own.

It speaks files, as banks do: it takes ``pain.001`` from ``outbox/``, answers with ``pain.002``, ``camt.053``
and, if asked, ``camt.054`` in ``inbox/``, and can be told to misbehave. It imports nothing of the wallet: two
implementations that were written apart, from the same standards, keep each other honest.

The tour, in the order a file travels:

``folder.py``        the folder: what is waiting, how a file is put down whole, the lock of one pass
``pain001.py``       bytes -> payments, and every reason to refuse them; pure
``days.py``          what it calls today, and the days it works on
``amounts.py``       integers of micros, and each currency's decimals
``instructions.py``  how the bank was told to misbehave
``books.py``         the bank's own books: accounts, entries, answers; SQLite
``settling.py``      the rules of executing: funds, fees, batch booking, returns
``pain002.py``       what the bank answers to a file -> bytes; pure
``dialects.py``      how other banks would tell the same entries; pure
``camt.py``          entries -> statement or notification bytes; pure
``bank.py``          one pass over all of it, killable at any instruction; the surface for Python
``cli.py``           ``python -m sandbox_bank``
"""
