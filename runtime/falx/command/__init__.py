"""The command line, `falx ...`: nothing else of Falx imports it."""
