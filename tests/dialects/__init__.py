"""A bank of many dialects: true facts on an account, told in every way that banks tell them, and a judge.

`facts` says what is true, `dialect` how a bank speaks, `telling` puts the two together into files (`camt` writes
them), `scene` is the wallet that reads them, and `judge` compares what it made of them with the facts. Nothing in
here reads or writes a bank's message by the code that it judges.
"""
