"""Says what happens inside Falx through Python's `logging`, under the name `falx` and at level DEBUG.

Falx adds no handler and sets no level. It names the engine, the model and how long things took; it never
names a file, a patient or a decision.
"""

from __future__ import annotations

import sys


def debug(message: str, *values: object) -> None:
    """Logs a message where the program has loaded `logging`; to load it for nobody would delay the start.

    Args:
        message: with a placeholder for each value, as `logging` takes it.
        values: formatted only where somebody listens.
    """
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("falx").debug(message, *values, stacklevel=2)
