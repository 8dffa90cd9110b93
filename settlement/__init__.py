"""Settlement: money crossing the bank border. The tour, continued from `wallet`.

5. `business_day`: a day closes; what every account held is stored.
6. `payouts`: the cut, one payout per merchant, or one reason why not yet.
7. `pain001`, `bank_files` and `bank`: rows become bytes, and the bytes reach the bank once.
8. `receiving`: the way in for the bank's messages, where none stops the next. `pain002` and `camt`: bytes become what
   the bank said; `envelope` opens containers, `xml` keeps what is dangerous out.
9. `reports` and `reconciliation`: what the bank said is matched, posted, or listed as a break. A statement's words are
   kept and worked through by `entries`, which knows from `pairing` what was told before, from `story` whose turn a
   statement is, from `matching` (`references`) what a word is about, and from `sums` what is made of what;
   `bank_transactions` is the life of one payment, `imports` what one message did.

`nightly` runs 5 to 7 in order, `scheduler` does so every night, `forecast` says what it would do, `statements`
(`pdf`, `merkle`) what it did, and `audit` proves all of it again from the rows (`audits` keeps how that ended, and
tells people). Where people decide: `approvals` before a run's files leave, `resolutions` over `breaks` and `owners` to
explain what does not match, with `tellings` of what became of each word, `quarantine` for what could not be imported,
`own_money` for the operator's own; `figures` and `savings` show how it goes.
"""
