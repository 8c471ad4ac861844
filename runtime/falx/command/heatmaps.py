"""`--heatmaps`: slices with their heatmaps, written where they were asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from falx.errors import HeatmapUnavailable, UnreadableImage
from falx.pictures.folder import Folder
from falx.prediction import Failure, Prediction
from falx.reading.source import read
from falx.slices.overlay import overlay
from falx.words import plain

if TYPE_CHECKING:
    from falx.model.card import Card
    from falx.reading.source import Source


class Heatmaps:
    """The folder of the heatmaps that a command writes."""

    def __init__(self, folder: str, card: Card) -> None:
        if not card.has_heatmap:
            raise HeatmapUnavailable(
                f"--heatmaps: the model {card.name} makes no heatmaps; give one that does with --model"
            )
        self._folder = Folder(folder)

    def save(self, item: Source, result: Prediction | Failure, name: str) -> bool:
        """Writes a slice with its heatmap, if it has one; returns False where the slice is gone."""
        heatmap = None if isinstance(result, Failure) else result.heatmap
        if heatmap is None:
            return True
        try:
            # Read again: keeping every slice until its turn would cost more memory than time.
            pixels = read(item).pixels
        except UnreadableImage as error:
            why = str(error)
        else:
            if pixels.shape == heatmap.shape:
                self._folder.save(overlay(pixels, heatmap), name)
                return True
            (rows, columns), (now_rows, now_columns) = heatmap.shape, pixels.shape
            why = f"{result.path}: expected {columns} x {rows} pixels, got {now_columns} x {now_rows}"
        # The answer stands, and so do those of the others.
        sys.stderr.write(
            f"falx: warning: {plain(why)}: the file changed since it was classified, so there is no heatmap; "
            "classify it again\n"
        )
        return False

    def written(self) -> str:
        """Returns a sentence that says how many were written, and where."""
        return plain(self._folder.told("heatmap"))
