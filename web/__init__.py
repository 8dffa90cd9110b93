"""HTTP: the interface for programs (`web.api`), the pages for people (`web.pages`), and what both share (`web.http`)."""
