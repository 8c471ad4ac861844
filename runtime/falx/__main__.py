"""`falx` and `python -m falx`: the command line as a process of its own."""

import gc
import os
import sys


def run() -> None:
    """Runs the command line and ends the process."""
    # The other commands may serve for long and start processes.
    predicting = sys.argv[1:2] == ["predict"]
    if predicting:
        # Nothing that is imported or loaded is garbage; with the model there, it is turned on again.
        gc.disable()
    from falx.command.main import main

    status = main()
    if not predicting:
        sys.exit(status)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    # AttributeError: there is no such stream; ValueError: it is closed. Python says what is wrong as it ends.
    except (AttributeError, OSError, ValueError):
        sys.exit(status)
    # At once: to take apart modules and engine, object by object, takes Python a tenth of the whole run.
    os._exit(status)


if __name__ == "__main__":
    run()
