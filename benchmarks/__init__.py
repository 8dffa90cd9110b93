"""How fast the wallet is, always beside a bare baseline measured in the same run: ``python -m benchmarks``.

The tour: `purchases` and `redemptions` drive a real server (`servers`) with clients in processes of their own
(`load`, `client`) on a wallet that `scenes` furnishes; `settlement` fills books by bulk SQL and settles them in a
fresh process (`settle`). `raw`, `signatures` and `bare` are the baselines. Both databases are durable: `databases`,
`postgresql`. `report` turns results into the tables of the terminal and of docs/PERFORMANCE.md.
"""
