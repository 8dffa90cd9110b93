"""Webhooks: merchants' servers are told what happened, signed, until they have heard it (standardwebhooks.com)."""
