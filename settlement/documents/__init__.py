"""What a merchant gets of a payout: the statement, its proof, its PDF."""
