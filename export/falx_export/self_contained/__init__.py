"""Files that decide by themselves, for programs without Falx."""
