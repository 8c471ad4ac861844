"""NRRD: the header of a volume as 3D Slicer, ITK and pynrrd write it, made an image of nibabel.

The format: https://teem.sourceforge.net/nrrd/format.html. A file whose voxels lie in another one is refused,
for its header could name any file; so is one that does not say where its axes lie in a patient.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from falx.errors import UnreadableImage

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage

MOST_HEADER: Final = 2**16
"""Bytes of the longest header that is read; a diffusion series names a few hundred directions in it."""

BYTES: Final = {"char": 1, "short": 2, "longlong": 8, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "int": 4}
INTEGER: Final = re.compile(rf"(u|unsigned|signed|)({'|'.join(BYTES)})(int|_t|)")
FLOATS: Final = {"float": "f4", "double": "f8"}
"""The types of NRRD, written without the spaces that may stand in them."""

SPACES: Final = {
    **dict.fromkeys(("right-anterior-superior", "ras"), (1, 1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (-1, 1, 1)),
    **dict.fromkeys(("left-posterior-superior", "lps"), (-1, -1, 1)),
}
"""The directions of the axes of each space: 1 to the right, the front or the head, -1 away from there."""


def open_nrrd(stream: BinaryIO | gzip.GzipFile, name: str) -> tuple[SpatialImage, BinaryIO | gzip.GzipFile]:
    """Returns the image of a file, in mm to the right, the front and the head, and the stream of its voxels.

    Raises ValueError or KeyError where the header is damaged.
    """
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.spatialimages import SpatialImage

    start = stream.read(MOST_HEADER)
    header, *rest = re.split(rb"\r?\n\r?\n", start, maxsplit=1)
    # A header that names a file for its voxels ends with its own file.
    if not rest and len(start) == MOST_HEADER:
        raise ValueError("its header has no end")
    lines = header.decode("ascii", "replace").splitlines()
    pairs = (line.partition(":") for line in lines[1:] if not line.startswith("#"))
    fields = {field.strip().lower(): value.strip() for field, _, value in pairs}
    why = _refusal(fields)
    if why is not None:
        raise UnreadableImage(f"{name}: expected a plain NRRD volume, got one {why}; save it as NIfTI")
    columns, rows, slices = map(int, fields["sizes"].split())
    vectors = [*re.findall(r"\((.*?)\)", fields["space directions"]), fields["space origin"].strip("()")]
    axes = np.array(SPACES[fields["space"].lower()])
    affine = np.eye(4)
    affine[:3] = axes[:, None] * np.array([[float(part) for part in one.split(",")] for one in vectors]).T
    offset = len(start) - len(b"".join(rest))
    stream.seek(offset)
    if fields["encoding"] != "raw":
        stream, offset = gzip.GzipFile(fileobj=stream), 0
    proxy = ArrayProxy(stream, ((columns, rows, slices), _dtype(fields), offset, 1.0, 0.0))  # type: ignore[no-untyped-call] # nibabel
    return SpatialImage(proxy, affine), stream


def _refusal(fields: Mapping[str, str]) -> str | None:
    """Returns why a file is not read, never its own words; None where it is."""
    skipped = {fields.get(f"{what} skip", "0") for what in ("line", "byte")}
    units = {*fields.get("space units", "mm").replace('"', "").split()}
    in_space = {*fields.get("kinds", "domain").split()} <= {"domain", "space", "???"}
    refused = {
        "whose voxels lie in another file": fields.keys() & {"data file", "datafile"},
        "with something before its voxels": skipped != {"0"},
        "packed by another program than gzip": fields.get("encoding") not in ("raw", "gzip", "gz"),
        "that does not say where its axes lie in a patient": fields.get("space", "").lower() not in SPACES,
        "whose lengths are not in mm": units != {"mm"},
        "of other axes than three in space": fields.get("dimension") != "3" or not in_space,
    }
    return next((why for why, holds in refused.items() if holds), None)


def _dtype(fields: Mapping[str, str]) -> np.dtype[np.generic]:
    kind = fields["type"].replace(" ", "")
    found = INTEGER.fullmatch(kind)
    code = FLOATS[kind] if found is None else f"{'u' if found[1][:1] == 'u' else 'i'}{BYTES[found[2]]}"
    order = "|" if code[1] == "1" else {"little": "<", "big": ">"}[fields["endian"]]
    return np.dtype(order + code)
