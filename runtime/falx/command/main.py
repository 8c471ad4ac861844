"""The command line: `falx COMMAND ...`.

Exit status: 0 all inputs were read, 1 some could not be (the others are answered), changed before their
heatmap was drawn, or a check failed, 2 wrong usage or an unusable model, 130 interrupted.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from falx._version import __version__
from falx.command.console import width, wrapped
from falx.errors import FalxError
from falx.words import DISCLAIMER
from falx.writing import lacks_room

UNUSABLE: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

HELP_WIDTH: Final = 80
"""Columns of help where the output is not a terminal, as argparse has it."""

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "predict": ("predict", "classify slices"),
    "study": ("study", "classify the slices of examinations, and sum each up"),
    "info": ("others", "print a model's card"),
    "check": ("others", "prove that this installation works, and how fast"),
    "demo": ("others", "classify drawn heads, so that no scan is needed"),
    "app": ("app", "open a page that classifies slices, for people who write no code"),
    "serve": ("serve", "answer programs over HTTP"),
    "retarget": ("others", "write a model file with other thresholds"),
    "listen": ("listen", "receive studies over DICOM and send reports on them"),
    "schema": ("others", "print the JSON Schema of what is printed with --json"),
    "completion": ("others", "print the completion of these commands for a shell"),
}
"""The module of each command and what the command does, in the order of the help.

The module has a function of the command's name, which carries it out, and one named `add_` and the name,
which gives a parser its options. NumPy, Pillow and the engine are imported where they are needed: help comes
at once.
"""


class CommandLine(argparse.ArgumentParser):
    """A parser that names what was probably meant where a command or an option does not exist."""

    def check_option(self, given: str) -> None:
        """Ends the process where there is no option of this name, or of one that begins like it."""
        if not any(name.startswith(given) for name in self._option_string_actions):
            self.error(f"unrecognized arguments: {given}")

    def error(self, message: str) -> NoReturn:
        """Prints the usage and what is wrong, and ends the process with 2."""
        _, _, wrong = message.partition("unrecognized arguments: ")
        meant = ""
        if wrong:
            meant = _meant(wrong.split()[0].partition("=")[0], self._option_string_actions)
        elif message == "the following arguments are required: COMMAND":
            message = f"expected a command; there are {', '.join(COMMANDS)}. `falx --help` says what they do"
        elif message.startswith("argument COMMAND: invalid choice: "):
            given = message.split("'")[1]
            message = f"unknown command {given!r}; there are {', '.join(COMMANDS)}"
            meant = _meant(given, COMMANDS) or ". `falx --help` says what they do"
        self.print_usage(sys.stderr)
        self.exit(UNUSABLE, wrapped(f"{self.prog}: error: {message}{meant}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns its exit status."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Whoever started this process closed it, and wants to hear nothing.
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            # A file name may hold bytes that are not text in this terminal's encoding.
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = next((argument for argument in arguments if argument in COMMANDS), None)
    parser, parsers = command_line(() if chosen is None else (chosen,))
    if chosen is None and arguments and arguments[0].startswith("-"):
        parser.check_option(arguments[0])
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parsers[options.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        module, _ = COMMANDS[options.command]
        command = getattr(importlib.import_module(f"falx.command.{module}"), options.command)
        status: int = command(options)
        sys.stdout.flush()
    except FalxError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads has gone. What Python still has to flush at exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and lacks_room(error):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _fail(f"cannot write the output: {error.strerror}; make room")
        if sys.flags.dev_mode:
            raise
        return _fail(
            f"{type(error).__name__}: {error}. This is a defect of Falx; "
            "`python -X dev -m falx` with the same arguments shows where"
        )
    return status


def command_line(with_options: Iterable[str] = COMMANDS) -> tuple[CommandLine, dict[str, CommandLine]]:
    """Returns the parser of the command line, and that of each command by its name.

    Commands that do not get their options are not imported.
    """
    # With the width told, argparse does not load what else would find it out.
    formatter = functools.partial(argparse.HelpFormatter, width=width(HELP_WIDTH) - 2)
    parser = CommandLine(
        prog="falx",
        description="Says what a slice shows: no_tumor, meningioma, glioma, pituitary, or ambiguous.",
        epilog=DISCLAIMER,
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"falx {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    parsers = {}
    for name, (module, summary) in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=DISCLAIMER,
            formatter_class=formatter,
        )
        if name in with_options:
            getattr(importlib.import_module(f"falx.command.{module}"), f"add_{name}")(parsers[name])
    return parser, parsers


def _meant(given: str, known: Iterable[str]) -> str:
    """Returns a question that names what is nearest to a word, or nothing where nothing is near."""
    # Here: only who mistypes needs it.
    from difflib import get_close_matches

    near = get_close_matches(given, known, n=1)
    return f". Did you mean {near[0]}?" if near else ""


def _fail(message: str) -> int:
    sys.stderr.write(wrapped(f"falx: error: {message}"))
    return UNUSABLE
