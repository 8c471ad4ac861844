"""The command line, `falx ...`: nothing else of Falx imports it."""

__all__: list[str] = []
