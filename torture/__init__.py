"""Whether a wallet loses or doubles anything while all of it is killed, stopped and starved: ``python -m torture``.

The tour: `scene` furnishes a wallet on the small file system of `ground`, whose `programs` run as an operator's
would: the server, the scheduler, the sandbox bank, PostgreSQL. `clients` pay, redeem, refund and withdraw over HTTP
and put what they asked and were answered into the `journal`; `chaos` kills, stops, fills the disk, and cuts and repeats
what the bank sends. When it is calm again `aftermath` asks for every answer once more, and `sums` compares the journal
with the raw tables, by SQL of its own that shares nothing with the wallet. `report` says how it ended.
"""
