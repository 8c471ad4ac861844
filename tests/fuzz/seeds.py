"""The files to mutate: real ones of every kind that Falx reads, and cards and models as it writes them."""

from __future__ import annotations

import gzip
import importlib.util
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from tests.cards import card as made_card
from tests.pictures import encoded, zipped

from falx import phantom
from falx.decision import DEFAULT_THRESHOLDS
from falx.model.card import Card, Format, SelfTest, Setting

__all__ = ["card", "images", "models", "several"]

UID: Final = "1.2.3.4.5"
"""Always the same, so that the files are."""

MODELS: Final = Path(__file__).parents[1] / "data"

DATA: Final = Path(os.environ.get("FALX_DATA", Path(__file__).parents[3] / "shared" / "data"))
"""Slices of patients, where they are; only mutated here, never kept."""

SLICES: Final = 3
"""The number of those that are taken."""

PYDICOM_FILES: Final = (
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "JPEG-lossy.dcm",
    "JPEG2000.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle_2frame.dcm",
    "badVR.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "no_meta.dcm",
    "nested_priv_SQ.dcm",
    "reportsi.dcm",
    "rtdose_1frame.dcm",
)
"""Files that come with pydicom: most transfer syntaxes, and some without a picture. JPEG Lossless is made."""


def images() -> dict[str, bytes]:
    """Pictures by what they are."""
    grey = _head(96)
    head = Image.fromarray(grey)
    rgb, deep = head.convert("RGB"), Image.fromarray(grey.astype(np.uint16) * 257)
    clear = head.copy()
    clear.putalpha(head)
    turned = Image.Exif()
    turned[0x0112] = 6
    made: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "png grey": (head, "PNG", {}),
        "png 16 bit": (deep, "PNG", {}),
        "png colour": (rgb, "PNG", {}),
        "png alpha": (clear, "PNG", {}),
        "png palette": (head.convert("P"), "PNG", {"transparency": 3}),
        "png 1 bit": (head.convert("1"), "PNG", {}),
        "png turned": (head, "PNG", {"exif": turned}),
        "jpeg grey": (head, "JPEG", {}),
        "jpeg colour": (rgb, "JPEG", {}),
        "jpeg progressive": (rgb, "JPEG", {"progressive": True}),
        "jpeg cmyk": (rgb.convert("CMYK"), "JPEG", {}),
        "jpeg turned": (head, "JPEG", {"exif": turned}),
        "jpeg of a phone": (rgb, "MPO", {"save_all": True, "append_images": [rgb]}),
        "bmp grey": (head, "BMP", {}),
        "bmp colour": (rgb, "BMP", {}),
        "gif": (head, "GIF", {}),
        "gif of frames": (head, "GIF", {"save_all": True, "append_images": [head.rotate(9)]}),
        "pgm": (head, "PPM", {}),
        "ppm": (rgb, "PPM", {}),
        "pgm 16 bit": (deep, "PPM", {}),
        "tiff grey": (head, "TIFF", {}),
        "tiff colour": (rgb, "TIFF", {}),
        "tiff 16 bit": (deep, "TIFF", {}),
        "tiff float": (Image.fromarray(grey.astype(np.float32)), "TIFF", {}),
        "tiff lzw": (head, "TIFF", {"compression": "tiff_lzw"}),
        "tiff deflate": (rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "tiff packbits": (head, "TIFF", {"compression": "packbits"}),
        "tiff jpeg": (rgb, "TIFF", {"compression": "jpeg"}),
        "tiff fax": (head.convert("1"), "TIFF", {"compression": "group4"}),
        "tiff of pages": (head, "TIFF", {"save_all": True, "append_images": [head]}),
        "webp lossy": (rgb, "WEBP", {}),
        "webp lossless": (clear, "WEBP", {"lossless": True}),
        "jpeg2000 grey": (head, "JPEG2000", {}),
        "jpeg2000 colour": (rgb, "JPEG2000", {"irreversible": True}),
    }
    found = {name: encoded(image, kind, **options) for name, (image, kind, options) in made.items()}
    return found | _dicom() | _slices()


def several() -> dict[str, bytes]:
    """Files of several slices, by a name whose first word is their suffix."""
    return _volumes() | _frames() | _stacks()


def card() -> Card:
    """A card of the tiny models, with everything in it that a card may hold."""
    return made_card(
        temperature=1.5,
        metrics={"accuracy": 0.5, "data": {"name": "none", "sizes": [1, 2, {"three": None}]}},
        provenance={"seed": 7, "trainer": "nobody é"},
        self_test=(SelfTest("lesion", (0.25, 0.25, 0.25, 0.25)),),
        history=(Setting(DEFAULT_THRESHOLDS),),
    )


def models() -> dict[str, tuple[Format, bytes]]:
    """Model files by name: their format, and the graph without a card."""
    formats: tuple[Format, ...] = ("tflite", "onnx")
    return {f"tiny.{kind}": (kind, (MODELS / f"tiny.{kind}").read_bytes()) for kind in formats}


def _head(side: int) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(phantom.lesion()).resize((side, side)))


def _dicom() -> dict[str, bytes]:
    if importlib.util.find_spec("pydicom") is None:
        return {}
    data: Any = importlib.import_module("pydicom.data")
    find: Callable[..., str | None] = data.get_testdata_file
    paths = {name: find(name, download=False) for name in PYDICOM_FILES}
    found = {f"dicom {name}": Path(path).read_bytes() for name, path in paths.items() if path is not None}
    return found | _syntaxes()


def _syntaxes() -> dict[str, bytes]:
    """Returns a drawn head in every transfer syntax that is read."""
    if importlib.util.find_spec("openjpeg") is None:
        return {}
    made: Any = importlib.import_module("tests.reading.dicom.made")
    head = _head(96)
    plain = made.dataset(head, SOPInstanceUID=UID)
    window = {"WindowCenter": 2000, "WindowWidth": 4000}
    deep = made.dataset(head.astype(np.uint16) * 16, 12, SOPInstanceUID=UID, **window)
    kinds = {k: v for k, v in (made.SYNTAXES | made.LOSSY).items() if made.DCMCJPEG or "lossless" not in k}
    found = {f"dicom {kind}": made.encoded(plain, syntax) for kind, syntax in kinds.items()}
    return found | {"dicom 12 bit": made.written(deep)}


def _volumes() -> dict[str, bytes]:
    if importlib.util.find_spec("nibabel") is None:
        return {}
    nibabel: Any = importlib.import_module("nibabel")
    head = _head(64)
    volume = np.stack([head, head[:, ::-1], head], axis=-1)
    thick = np.diag([1.0, 1.0, 5.0, 1.0])
    first, second = nibabel.Nifti1Image, nibabel.Nifti2Image
    scaled = first(volume.astype(np.int16), thick)
    scaled.header.set_slope_inter(2.5, -100)
    made = {
        "nii 8 bit": first(volume, thick),
        "nii scaled": scaled,
        "nii floats": first(volume.astype(np.float32), thick),
        "nii of the second kind": second(volume, thick),
        "nii of four dimensions": first(volume[..., None], thick),
        "nii of two volumes": first(np.stack([volume, volume], 3), thick),
        "mgh": nibabel.MGHImage(volume, thick),
    }
    plain = {name: image.to_bytes() for name, image in made.items()} | {"nrrd": _nrrd(volume)}
    packed = {"nii.gz 8 bit": "nii 8 bit", "mgz": "mgh"}
    return plain | {name: gzip.compress(plain[of], 1, mtime=0) for name, of in packed.items()}


def _nrrd(volume: npt.NDArray[np.uint8]) -> bytes:
    """Returns a NRRD volume whose voxels are packed."""
    sizes = " ".join(map(str, volume.shape))
    lines = (
        *("NRRD0004", "type: unsigned char", "dimension: 3", "space: left-posterior-superior"),
        *(f"sizes: {sizes}", "space directions: (1,0,0) (0,1,0) (0,0,5)", "kinds: domain domain domain"),
        *("encoding: gzip", "space origin: (0,0,0)", "", ""),
    )
    return "\n".join(lines).encode() + gzip.compress(volume.tobytes(order="F"), 1, mtime=0)


def _stacks() -> dict[str, bytes]:
    """Returns a zip archive of pictures, packed and not, and TIFF stacks."""
    head = Image.fromarray(_head(64))
    deep = Image.fromarray(_head(64).astype(np.uint16) * 257)
    pages = {"tif of pages": head, "tif of deep pages": deep}
    found = {name: encoded(page, "TIFF", save_all=True, append_images=[page]) for name, page in pages.items()}
    members = dict.fromkeys(("a.png", "b/c.png"), encoded(head))
    return found | {"zip": zipped(members), "zip stored": zipped(members, zipfile.ZIP_STORED)}


def _frames() -> dict[str, bytes]:
    if importlib.util.find_spec("pydicom") is None:
        return {}
    made: Any = importlib.import_module("tests.reading.dicom.made")
    head = _head(64)
    frames = made.dataset(np.stack([head, head[:, ::-1]]), SOPInstanceUID=UID)
    kinds = ["explicit", "implicit", "deflated", "rle"]
    kinds += ["jpeg-lossless-sv1"] if made.DCMCJPEG else []
    return {f"dcm of frames, {kind}": made.encoded(frames, made.SYNTAXES[kind]) for kind in kinds}


def _slices() -> dict[str, bytes]:
    paths = sorted(DATA.glob("*/*/*.jp*g"))
    chosen = paths[:: max(1, len(paths) // SLICES)][:SLICES]
    return {f"jpeg of a slice, {number}": path.read_bytes() for number, path in enumerate(chosen, start=1)}
