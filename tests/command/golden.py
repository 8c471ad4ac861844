"""Draws the inputs of the golden file, and prints what the command line answers for them.

    python -m tests.command.golden > tests/command/golden.jsonl

The file proves that nothing moved while code moves. After a change that is meant, write it anew and read the
difference.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nibabel
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset
from tests.reading.dicom import made

from falx import phantom
from falx.command.main import main

CT: Final = "1.2.840.10008.5.1.4.1.1.2"

MEASURED: Final = ("elapsed_ms",)
"""Keys whose values differ from run to run."""


def draw(folder: Path) -> None:
    """Writes the inputs: pictures, DICOM, volumes, and files that cannot be read."""
    _pictures(folder)
    _dicom(folder)
    _volumes(folder)
    _broken(folder)


def _pictures(folder: Path) -> None:
    clear, lesion = Image.fromarray(phantom.clear()), Image.fromarray(phantom.lesion())
    clear.save(folder / "clear.png")
    lesion.save(folder / "lesion.png")
    lesion.save(folder / "lesion.jpg", quality=95)
    lesion.save(folder / "lesion.tif")
    lesion.convert("P").save(folder / "palette.png")
    lesion.convert("CMYK").save(folder / "cmyk.tif")
    lesion.resize((512, 512), Image.Resampling.BICUBIC).save(folder / "large.png")
    Image.fromarray(phantom.lesion().astype(np.uint16) * 200).save(folder / "sixteen.png")
    Image.fromarray(phantom.lesion().astype(np.float32) / 7).save(folder / "float.tif")
    turned = lesion.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif, quality=95)
    alpha = lesion.convert("RGBA")
    alpha.putalpha(Image.fromarray(np.full((256, 256), 200, np.uint8)))
    alpha.save(folder / "alpha.png")
    Image.new("L", (256, 256), 90).save(folder / "blank.png")
    clear.resize((40, 40)).save(folder / "small.png")
    Image.merge("RGB", (lesion, clear.rotate(90), clear)).save(folder / "colour.png")
    Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))).save(folder / "gradient.png")
    noise = np.random.default_rng(1).integers(0, 256, (256, 256), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")


def _object(pixels: npt.NDArray[np.uint16], number: int = 1, **tags: Any) -> Dataset:
    """Returns an MR object of `(H, W)` or `(N, H, W)` values, with tags changed, or left out by None."""
    plain = dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate")) | {
        "SOPInstanceUID": f"1.2.3.4.{number}",
        "InstanceNumber": number,
        "PixelSpacing": [0.9, 0.9],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 5.0 * number],
    }
    return made.dataset(pixels, 12, **plain | tags)


def _dicom(folder: Path) -> None:
    lesion, clear = (draw().astype(np.uint16) * 8 for draw in (phantom.lesion, phantom.clear))
    objects = {
        "plain": _object(lesion),
        "window": _object(lesion, WindowCenter=900, WindowWidth=1700, RescaleSlope=1, RescaleIntercept=0),
        "inverted": _object(2047 - lesion, PhotometricInterpretation="MONOCHROME1"),
        "oblong": _object(lesion[::2].copy(), PixelSpacing=[1.8, 0.9]),
        "ct": _object(lesion, SOPClassUID=CT, Modality="CT"),
        "knee": _object(lesion, BodyPartExamined="KNEE"),
        "localizer": _object(lesion, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "burned": _object(lesion, BurnedInAnnotation="YES"),
        "frames": _object(np.stack([clear, lesion])),
        "no-pixels": _object(lesion, PixelData=None),
    }
    # The largest number comes first by name.
    series = {f"series/{9 - n}": _object(lesion if n in (4, 5) else clear, n) for n in range(1, 9)}
    (folder / "series").mkdir()
    for name, one in (objects | series).items():
        (folder / f"{name}.dcm").write_bytes(made.written(one))


def _volumes(folder: Path) -> None:
    slices = [phantom.lesion() if 4 <= number < 7 else phantom.clear() for number in range(10)]
    volume = np.stack([drawn[::-1, ::-1].T for drawn in slices], axis=2)
    made = nibabel.Nifti1Image(volume, np.diag([0.9, 0.9, 5.0, 1.0]))  # type: ignore[no-untyped-call] # nibabel
    nibabel.save(made, folder / "volume.nii.gz")
    (folder / "cut.nii.gz").write_bytes(gzip.compress(made.to_bytes(), mtime=0)[:-400])


def _broken(folder: Path) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture\n", encoding="utf-8")
    (folder / "cut.png").write_bytes((folder / "lesion.png").read_bytes()[:3000])
    (folder / "cut.dcm").write_bytes((folder / "plain.dcm").read_bytes()[:9000])
    (folder / "zip.png").write_bytes(b"PK\x03\x04" + bytes(200))


COMMANDS: Final = (
    ("predict", "--json", "missing.png", "."),
    ("predict", "--json", "--threshold", "glioma=0.999", "lesion.png"),
    ("study", "--json", "series"),
    ("study", "--json", "volume.nii.gz"),
    ("study", "--json", "cut.nii.gz"),
)
"""The commands that are asked, in the folder of the inputs."""


def answers() -> list[dict[str, Any]]:
    """Returns each command with its exit status, and the JSON objects that it prints."""
    found = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        draw(Path(name))
        for arguments in COMMANDS:
            printed, complained = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
                status = main(list(arguments))
            found.append(
                {
                    "command": list(arguments),
                    "status": status,
                    "answers": [_without(json.loads(line)) for line in printed.getvalue().splitlines()],
                    "says": complained.getvalue().replace(os.path.realpath(name), "."),
                }
            )
    return found


def _without(value: Any) -> Any:
    """Returns a JSON value without what is measured, which differs from run to run."""
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in MEASURED}
    return [_without(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    for answer in answers():
        sys.stdout.write(json.dumps(answer) + "\n")
