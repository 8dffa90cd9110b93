"""Pages that tell of payouts: those of merchants (`merchant`) and of operators (`console`). See `wallet.pages`."""
