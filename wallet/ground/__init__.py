"""What everything else is said in: money, time, ids, errors, the way into the database. Imports nothing of ours."""
