"""What the bank refuses at its counter; bank files are answered by ``pain.002`` instead."""


class BankError(Exception):
    """A request the bank refuses; nothing was done. The message is for the person who asked."""


class NotOpened(BankError):
    """The folder holds no bank yet, or no account in that currency: ``init`` it."""


class NotPrivate(BankError):
    """Another account of this machine may open what the bank keeps."""


class MalformedOrder(BankError):
    """A pay-in order that cannot be read, or that contradicts an earlier one with the same id."""
