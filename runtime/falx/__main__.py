"""`python -m falx`: the command line."""

import sys

from falx.cli import main

if __name__ == "__main__":
    sys.exit(main())
