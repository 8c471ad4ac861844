"""Lays out tables of text for people."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned"]


def aligned(rows: Sequence[Sequence[str]], *, text: int = 1) -> list[str]:
    """Returns the lines of a table.

    Args:
        rows: the cells, the heads among them; each row has as many.
        text: the number of columns, from the left, that hold words; the others hold numbers, which end where
            their head ends.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column < text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
