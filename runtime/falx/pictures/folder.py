"""A folder for the pictures that were asked for."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from falx.errors import OutputError
from falx.words import counted


class Folder:
    """A new or empty folder for pictures, in which none replaces another."""

    def __init__(self, path: str) -> None:
        """Makes the folder; raises OutputError where it cannot, or it holds files."""
        self._path = Path(path)
        self._used: set[str] = set()
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            taken = any(self._path.iterdir())
        except OSError as error:
            raise OutputError(f"{path}: cannot make this folder: {error.strerror}") from error
        if taken:
            raise OutputError(f"{path}: expected a new or empty folder, this one holds files; give another")

    def told(self, what: str) -> str:
        """Returns a sentence that says how many pictures of a kind were written, and where."""
        return f"{counted(len(self._used), what)} written to {self._path}."

    def save(self, image: Image.Image, name: str) -> Path:
        """Writes a picture as PNG, with the `Software` that its `info` names.

        The name has no suffix; where it is taken, `-2`, `-3`, ... is appended.
        """
        number, free = 1, name
        while free.casefold() in self._used:
            number += 1
            free = f"{name}-{number}"
        # Without case: file systems that ignore it would take one file for the other.
        self._used.add(free.casefold())
        path = self._path / f"{free}.png"
        said = PngInfo()
        if "Software" in image.info:
            said.add_text("Software", image.info["Software"])
        try:
            with path.open("xb") as stream:
                image.save(stream, "PNG", pnginfo=said)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        return path
