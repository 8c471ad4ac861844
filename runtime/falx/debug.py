"""Says what happens inside Falx without naming a file, a patient or a decision.

`debug` tells the engine, the model and how long things took through Python's `logging`, under the name `falx`
and at level DEBUG; Falx adds no handler and sets no level.
"""

from __future__ import annotations

import sys
from pathlib import Path


def debug(message: str, *values: object) -> None:
    """Logs a message where the program has loaded `logging`; to load it for nobody would delay the start."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("falx").debug(message, *values, stacklevel=2)


def place(error: BaseException) -> str:
    """Returns the file of code and the line that raised an error, whose own words may quote a patient."""
    trace = error.__traceback__
    if trace is None:
        return "a place unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
