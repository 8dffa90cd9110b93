"""The wallet: money inside our books.

`ground` is what everything is said in; `tables` what must never be false; `keys` sign and verify; `books` the ledger,
the only writer of transfers. Then the rooms, each of which imports only those before it: `telling` (letters and
webhooks), `merchants`, `purses`, `people` (who signs in, and the keys of programs), `purchases` (in the order a
purchase walks: `orders`, `vouchers`, `redemptions`; `checkouts` asks for one on our page), `funding` (what comes in and
goes out again). `search`, `pruning` and `writable` read every table, and stand above them all.

The way goes on in `settlement`, where money crosses the bank border. docs/maintainers.md has a line for every folder.
"""
