"""The wallet: money inside our books. The tour, in the order a purchase walks through the rooms.

`money`, `errors`, `clock`, `ids` are the words everything else is said in. `db` is the way into the database,
`models` the tables and what must never be false about them. `ledger` is the books: the only writer of transfers.

1. `purses`: a shopper's balance, topped up from outside, and the devices that may pay from it.
2. `orders`: what a device signs, verified before anything is touched.
3. `vouchers`: debit, hold and signature in one transaction; release and lapse give the hold back.
4. `redemptions`: a voucher becomes money owed to its merchant, once; refunds go the other way.

Around these: `checkouts` (a merchant's request for an amount, paid on our page), `limits`, `members`, `alerts`,
`automatic_top_ups` and `closing` of purses, `history` and `sales` to look back. `identities` is who signs in, with
`sessions`, `passkeys`, `totp`, `invitations` and `team`; `confirmations` keeps how somebody said yes. `letters` by
`mail` and events by `webhooks` tell what happened; `actions` is the operators' log; `pruning` forgets what nobody
needs any more.

`keys` and `jws` sign and verify; `idempotency` remembers what was answered; `api_keys` and `merchants` say who is
who; `private` keeps files to this account; `schemas` and `api` put HTTP around it, `pages` what people see.
The tour goes on in `settlement`, where money crosses the bank border.
"""
