"""Cuts slices out of whole heads without a tumour: in three planes, tilted a little, from vertex to base.

Whoever has volumes has many more healthy slices than were ever picked. Each cut is one that a scanner could
have made: a plane laid a little otherwise, a slice a little thicker.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from falx.errors import FalxError, VolumeUnavailable
from falx.reading.input_file import InputFile
from falx.reading.volume import Volume, open_volume
from falx.words import NO_TUMOR, counted
from falx.writing import write_whole
from falx_runs.arrays import Float64s, Pixels
from falx_runs.errors import DataError
from falx_runs.manifest import LEARNED, LEVELS, LabelledVolume, Record, read_volumes, to_csv

HEAD_LEVEL: Final = 25
"""Grey levels from which a voxel is of the head; air is darker."""

LEAST_HEAD_MM2: Final = 1500.0
"""The area from which a level of a volume shows a head: about 4 cm across."""

CUT_OFF_MM2: Final = 6000.0
"""A head of this area in the highest level goes on above it, so that the vertex is not in the volume."""

AXIAL_MM: Final = (14.0, 122.0)
"""Axial cuts lie so far below the top of the head: from the first brain under the scalp to the foramen
magnum of most adults."""

LEVEL_ENDS_MM: Final = (28.0, 54.0, 91.0)
"""The levels of axial slices but the last end so far below the top of the head."""

BRAIN_MM: Final = 90.0
"""The head down to here below its top is mostly brain; its extent from front to back and from side to side is
measured there."""

RIM_MM: Final = {"coronal": 22.0, "sagittal": 16.0}
"""Cuts show brain from this depth in that extent on."""

TILT: Final = math.radians(15)
"""The most that a cut is tilted, about either axis of its own plane."""

THICKNESS_MM: Final = (1.0, 5.0)

SAMPLES: Final = 3
"""Sheets whose mean is a slice of some thickness."""

FLOOR_MM: Final = 3.0
"""Axial cuts lie at least so far above the lowest level: half of the thickest is still in the volume."""

FIELD_MM: Final = 256
"""Height and width of a cut, a pixel a millimetre: an adult's head with its neck."""

OWN_PLANE: Final = 0.6
"""Share of the cuts that lie in the plane in which the volume was acquired, where they are sharpest."""

PLANES: Final = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
"""The axes of a head across a plane, down its picture, and along it to the right."""


@dataclass(frozen=True, eq=False)
class Head:
    """A volume as a head lies in it.

    Attributes:
        grey: `(Z, Y, X)` float32, 0..255: from the top down, from the front to the back, from the patient's
            right to the left.
        sizes_mm: of a voxel along each.
        plane: the one that it was acquired in.
    """

    grey: npt.NDArray[np.float32]
    sizes_mm: Float64s
    plane: str

    @classmethod
    def of(cls, volume: Volume) -> Head:
        """Reads a volume.

        Raises:
            DataError: the sizes of its voxels, or how it lies, are unknown.
        """
        if volume.sizes_mm is None or volume.plane is None:
            raise DataError(f"{volume.name}: expected a volume that says how large its voxels are")
        grey = np.stack([volume.read(number + 1).pixels for number in range(volume.frames)]).astype(
            np.float32
        )
        # Slices are shown with square pixels, the patient's right, or the nose, on the left; they go from
        # foot to head, from back to front and from left to right.
        pixel, between = min(volume.sizes_mm[:2]), volume.sizes_mm[2]
        turned = np.moveaxis(grey[::-1], (0, 1, 2), PLANES[volume.plane])
        sizes = np.full(3, pixel)
        sizes[PLANES[volume.plane][0]] = between
        return cls(turned, sizes, volume.plane)

    def extents_mm(self) -> tuple[dict[str, tuple[float, float]], bool]:
        """Returns where cuts of each plane show brain, in mm from the top, the front and the right; and
        whether the top of the head is in the volume.

        Raises:
            DataError: no head is in it.
        """
        inside = self.grey > HEAD_LEVEL
        areas = inside.sum(axis=(1, 2)) * self.sizes_mm[1] * self.sizes_mm[2]
        levels = np.flatnonzero(areas >= LEAST_HEAD_MM2)
        if not levels.size:
            raise DataError("no head is in it")
        whole = bool(areas[0] < CUT_OFF_MM2)
        top = levels[0] * self.sizes_mm[0]
        bottom = (len(areas) - 1) * self.sizes_mm[0] - FLOOR_MM
        found = {"axial": (top + AXIAL_MM[0] * whole, min(top + AXIAL_MM[1], bottom))}
        brain = inside[levels[0] : math.ceil((top + BRAIN_MM) / self.sizes_mm[0])]
        for plane, axis in (("coronal", 1), ("sagittal", 2)):
            along = brain.sum(axis=tuple({0, 1, 2} - {axis})) * np.delete(self.sizes_mm, axis).prod()
            places = np.flatnonzero(along >= LEAST_HEAD_MM2) * self.sizes_mm[axis]
            rim = RIM_MM[plane]
            if places.size and places[-1] - places[0] > 3 * rim:
                found[plane] = places[0] + rim, places[-1] - rim
        return found, whole

    def cut(self, plane: str, at_mm: float, rng: np.random.Generator) -> Pixels:
        """Cuts a slice, `(256, 256)`, a pixel a millimetre.

        Args:
            plane: `axial`, `coronal` or `sagittal`.
            at_mm: how far its middle lies from the top, the front or the right of the volume.
            rng: chooses tilt and thickness.
        """
        across, down, right = PLANES[plane]
        tilted = Rotation.identity()
        for axis in (down, right):
            # The sign alone keeps the slices of a seed: those that falx-6 learned from.
            about = np.eye(3)[axis] * (-1) ** axis
            tilted = Rotation.from_rotvec(rng.uniform(-TILT, TILT) * about) * tilted
        turn = tilted.as_matrix()
        middle = (np.array(self.grey.shape) - 1) * self.sizes_mm / 2
        middle[across] = at_mm
        steps = np.arange(FIELD_MM) - (FIELD_MM - 1) / 2
        thick = rng.uniform(*THICKNESS_MM) * np.linspace(-0.5, 0.5, SAMPLES)
        places = (
            middle[:, None, None, None]
            + turn[:, across][:, None, None, None] * thick[:, None, None]
            + turn[:, down][:, None, None, None] * steps[:, None]
            + turn[:, right][:, None, None, None] * steps
        ) / self.sizes_mm[:, None, None, None]
        sheets = ndimage.map_coordinates(self.grey, places, order=1, prefilter=False)
        cut: Pixels = np.rint(sheets.mean(axis=0)).clip(0, 255).astype(np.uint8)
        return cut


def cut_volumes(data: Path, out: Path, *, each: int, seed: int) -> str:
    """Cuts slices of the healthy volumes that may be learned from, and writes them with a manifest.

    Volumes with a tumour are passed over: which of their slices show it is not known well enough. So are
    those of `val` and `test`.

    Args:
        data: a manifest of volumes, or the folder that has one.
        out: the folder to write.
        each: cuts of each volume.
        seed: of all chance.

    Returns:
        What was done, for people.

    Raises:
        DataError: no volume can be used.
        VolumeUnavailable: the package that reads volumes is not installed.
    """
    chosen = [one for one in read_volumes(data) if one.label == NO_TUMOR and one.split in LEARNED]
    if not chosen:
        raise DataError(f"{data}: expected volumes of the label no_tumor, of the split train or of none")
    out.mkdir(parents=True, exist_ok=True)
    records, unread, stems = [], [], [one.path.name.partition(".")[0] for one in chosen]
    for number, one in enumerate(tqdm(chosen, "cutting", unit="volume", disable=None)):
        # Volumes of several folders may have one name: the numbers of their slices go on.
        first = each * stems[:number].count(stems[number])
        names = [f"{stems[number]}-{first + n:03d}.png" for n in range(each)]
        try:
            records += list(_cuts(one, [out / name for name in names], np.random.default_rng([seed, number])))
        except VolumeUnavailable:
            raise
        except FalxError as error:
            unread.append(f"left out: {one.path}: {str(error).removeprefix(f'{one.path}: ')}")
    if not records:
        raise DataError("\n".join([f"{data}: no volume can be cut", *unread]))
    manifest = out / "manifest.csv"
    write_whole(manifest, to_csv(records).encode())
    count = len(chosen) - len(unread)
    return "\n".join([*unread, f"wrote {manifest}: {counted(len(records))} of {counted(count, 'volume')}"])


def _cuts(volume: LabelledVolume, paths: Sequence[Path], rng: np.random.Generator) -> Iterator[Record]:
    """Cuts a slice for each path; those of a volume without a group are a group of their own."""
    head = Head.of(open_volume(InputFile.at(volume.path)))
    extents, whole = head.extents_mm()
    for path, plane in zip(paths, _planes(head.plane, list(extents), len(paths), rng), strict=True):
        low, high = extents[plane]
        at = rng.uniform(low, max(low, high))
        Image.fromarray(head.cut(plane, at, rng)).save(path)
        level = ""
        if plane == "axial" and whole:
            level = LEVELS[bisect(LEVEL_ENDS_MM, at - low + AXIAL_MM[0])]
        yield Record(
            path,
            volume.label,
            volume.source,
            volume.group or str(volume.path),
            volume.split,
            volume.sequence,
            plane,
            level=level,
        )


def _planes(own: str, known: Sequence[str], each: int, rng: np.random.Generator) -> list[str]:
    others = (1 - OWN_PLANE) / max(1, len(known) - 1)
    shares = np.array([OWN_PLANE if plane == own else others for plane in known])
    return [str(plane) for plane in rng.choice(known, each, p=shares / shares.sum())]
