"""HTTP: calls for programs (`web.api`), pages for people (`web.pages`), and what both share (`web.http`)."""
