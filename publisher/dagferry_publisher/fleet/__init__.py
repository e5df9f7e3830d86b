"""The fleet: what every puller says of itself, judged. What judges is pure; ``ask`` and ``survey`` do the talking."""
