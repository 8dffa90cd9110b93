"""What people see and touch: the hosted checkout, signing in, and the shopper's purse.

`page` is what every page has in common (language, session, headers, refusals), `forms` reads what was typed,
`sign_in` lets people in, `checkout` lets them pay, the rest is the purse. The pages of merchants and operators are in
`settlement.pages`, since they tell of payouts.

Invariant: a page calls the same verbs as the HTTP interface; every POST carries a CSRF token, and answers by a
redirect or by the form again with what is wrong and a status that says so.
"""
