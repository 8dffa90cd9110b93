"""The wallet at a glance: what moves, what it saves, what tonight would bring."""
