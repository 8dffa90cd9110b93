"""Who is paid, where, and on which terms."""
