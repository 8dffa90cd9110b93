"""Settlement: money crossing the bank border.

The way out: `business_day` closes a day; `payouts` finds what is owed and cuts it; `files` puts the payments into
files, renders them by `bank.formats`, has them approved, and hands them to `bank` once. `runs.nightly` is the order of
these steps, `scheduler` when it happens.

The way in: `answers.receiving`, where no message of the bank stops the next; `bank.formats` reads it; the rest of
`answers` matches, posts, or lists it as a break, and lets people say what a break is.

`audit` proves all of it again from the rows; `documents` are what a merchant gets of a payout; `figures` show how it
goes.
"""
