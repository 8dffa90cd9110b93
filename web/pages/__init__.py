"""What people see and touch: the hosted checkout, signing in, the shopper's purse, merchants' pages, the console.

`page` is what every page has in common (language, session, headers, refusals), `forms` reads what was typed, `sign_in`
lets people in, `checkout` lets them pay; `purse`, `merchant` and `console` are folders of pages. All templates are in
one folder, by the name of their pages: they extend and include each other.

Invariant: a page calls the same verbs as the HTTP interface; every POST carries a CSRF token, and answers by a
redirect or by the form again with what is wrong and a status that says so.
"""
