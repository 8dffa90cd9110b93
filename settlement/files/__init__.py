"""Files for the bank, the payments in them, and who approved them."""
