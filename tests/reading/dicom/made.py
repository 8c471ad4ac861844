"""DICOM files of given pixels, written with pydicom and the encoders of its plugins."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid
from tests import pictures

DCMCJPEG = shutil.which("dcmcjpeg")

NAME = "Mustermann^Erika"
MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
EXPLICIT = "1.2.840.10008.1.2.1"

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": EXPLICIT,
    "big-endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg-lossless": "1.2.840.10008.1.2.4.57",
    "jpeg-lossless-sv1": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000-lossless": "1.2.840.10008.1.2.4.90",
}
"""Those that keep every pixel."""

LOSSY = {
    "jpeg-baseline": "1.2.840.10008.1.2.4.50",
    "jpeg-extended": "1.2.840.10008.1.2.4.51",
    "jpeg-ls-near": "1.2.840.10008.1.2.4.81",
    "jpeg-2000": "1.2.840.10008.1.2.4.91",
}


def dataset(pixels: npt.NDArray[Any], bits: int | None = None, /, **changes: Any) -> Dataset:
    """An MR image of `(H, W)`, or `(N, H, W)`, values: 8 or 16 bits, signed or not, of `bits` bits stored."""
    frames = pixels.shape[0] if pixels.ndim == 3 else 1
    allocated = 8 * pixels.dtype.itemsize
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = MR, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    made.PatientName, made.PatientID, made.PatientBirthDate = NAME, "Erika-0815", "19640812"
    made.Modality = "MR"
    made.Rows, made.Columns = pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored = allocated, bits or allocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    if frames > 1:
        made.NumberOfFrames = frames
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW" if allocated > 8 else "OB"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    for keyword, value in changes.items():
        if value is None:
            del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


def encoded(made: Dataset, syntax: str) -> bytes:
    """The file of a data set in a transfer syntax."""
    out = pydicom.dcmread(io.BytesIO(written(made)))
    uid = UID(syntax)
    if not uid.is_compressed or uid.is_deflated:
        return _native(out, uid)
    if syntax in (LOSSY["jpeg-baseline"], LOSSY["jpeg-extended"]) and out.BitsAllocated == 8:
        out.PixelData = encapsulate([pictures.encoded(out.pixel_array, "JPEG", quality=95)])
        out["PixelData"].VR = "OB"
        out.file_meta.TransferSyntaxUID = uid
    elif syntax in (SYNTAXES["jpeg-lossless"], SYNTAXES["jpeg-lossless-sv1"]):
        # The pixels alone of what dcmtk writes: it adds an identifier and a description.
        process = "+e1" if syntax == SYNTAXES["jpeg-lossless-sv1"] else "+el"
        out.PixelData = pydicom.dcmread(io.BytesIO(by_dcmtk(made, process))).PixelData
        out["PixelData"].VR = "OB"
        out.file_meta.TransferSyntaxUID = uid
    elif syntax == LOSSY["jpeg-ls-near"]:
        out.compress(uid, jls_error=2, generate_instance_uid=False)
    elif syntax == LOSSY["jpeg-2000"]:
        out.compress(uid, j2k_psnr=[60], generate_instance_uid=False)
    else:
        out.compress(uid, generate_instance_uid=False)
    return written(out)


def _native(out: Dataset, uid: UID) -> bytes:
    little = uid != SYNTAXES["big-endian"]
    if not little:
        out.PixelData = out.pixel_array.astype(out.pixel_array.dtype.newbyteorder(">")).tobytes()
    out.file_meta.TransferSyntaxUID = uid
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, out, implicit_vr=uid.is_implicit_VR, little_endian=little, force_encoding=True)
    return buffer.getvalue()


def by_dcmtk(made: Dataset, *options: str) -> bytes:
    """The file that dcmtk compresses a data set to."""
    if DCMCJPEG is None:
        pytest.skip("dcmcjpeg, which writes this, is not installed (Debian: dcmtk)")
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "a.dcm", Path(folder) / "b.dcm"
        before.write_bytes(written(made))
        subprocess.run([DCMCJPEG, *options, before, after], check=True, capture_output=True)
        return after.read_bytes()


def written(made: Dataset) -> bytes:
    """The file of a data set as it is."""
    buffer = io.BytesIO()
    made.file_meta.MediaStorageSOPClassUID = UID(made.get("SOPClassUID") or MR)
    made.file_meta.MediaStorageSOPInstanceUID = UID(made.get("SOPInstanceUID") or "1.2.3")
    pydicom.dcmwrite(buffer, made, enforce_file_format=True)
    return buffer.getvalue()


def change(path: Path, **tags: Any) -> None:
    """Gives a file other tags."""
    part = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(part, keyword, value)
    part.file_meta.MediaStorageSOPClassUID = part.SOPClassUID
    part.save_as(path, enforce_file_format=True)


def coded(pixels: npt.NDArray[Any], syntax: str, *frames: bytes, bits: int | None = None) -> bytes:
    """A file of these compressed frames."""
    built = dataset(pixels, bits)
    built.PixelData = encapsulate(list(frames))
    built["PixelData"].VR = "OB"
    built.file_meta.TransferSyntaxUID = UID(syntax)
    return written(built)
