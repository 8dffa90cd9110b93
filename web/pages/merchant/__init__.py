"""What a merchant's people see: what is owed and when it comes, the till, the sales, the payouts, and who may do what.

`seat` is what the pages share; each other module is one of them. Importing this package puts them all on `blueprint`.

Invariant: a page asks the rooms by the merchant of whoever is signed in, never by an id from the address, so another
merchant's things are not there (404).
"""

from web.pages.merchant import overview, payouts, programs, sales, settings, till
from web.pages.merchant.seat import blueprint

__all__ = ["blueprint", "overview", "payouts", "programs", "sales", "settings", "till"]
