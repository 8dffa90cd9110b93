"""Letters and webhooks: written in the transaction that did the deed, delivered afterwards."""
