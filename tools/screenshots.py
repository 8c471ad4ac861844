"""Takes pictures of the page of `falx app` in each of its states, of drawn heads, in Chromium.

    python -m tools.screenshots --out runs/screens
    python -m tools.screenshots --out docs/pictures --only slice study --size desk

The first command takes all, to be looked at before a release; the second takes those of docs/app.md.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nibabel
import numpy as np
import numpy.typing as npt
from benchmarks import chromium, turns
from benchmarks.page import WELL
from benchmarks.ports import served
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

import falx
from falx import phantom
from falx.app.texts import ONE_PATIENT

if TYPE_CHECKING:
    from playwright.sync_api import Page


SIZES: Final = {"desk": (1280, 800), "tablet": (820, 1180), "phone": (390, 844), "print": (794, 1123)}
"""Width and height in pixels: a laptop, a tablet, a phone, and A4 at 96 pixels an inch, as it is printed."""

SLICES: Final = 12
TIMEOUT_MS: Final = 120_000
TABLE: Final = "All slices in a table"
SERIES: Final = tuple(f"IM{number:02}" for number in range(1, SLICES + 1))

STATES: Final = {
    "start": ((), ()),
    "slice": (("lesion.png",), ()),
    "clear": (("clear.png",), ()),
    "ambiguous": (("between.png",), ()),
    "limited": (("small.png",), ()),
    "rejected": (("gradient.png",), ()),
    "error": (("broken.png",), ()),
    "five": (("lesion.png", "clear.png", "small.png", "gradient.png", "broken.png"), ()),
    "table": (("lesion.png", "clear.png", "gradient.png", "broken.png"), (ONE_PATIENT, TABLE)),
    "study": (SERIES, ("Side by side",)),
    "unused": ((*SERIES, "localizer", "ct"), (TABLE,)),
    "zip": (("scan.zip",), ()),
    "volumes": (("head.nii", "again.nii", "DICOMDIR", "notes.txt"), ()),
    "letter": (("lesion.png",), ("𒀀",)),
}
"""The files that are given to the page for each picture, and the texts that are pressed or typed then."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Takes the pictures; returns the exit status."""
    from playwright.sync_api import sync_playwright

    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        served("app", "--no-browser", well=WELL) as port,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
    ):
        _draw(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium.found())
        for state in options.only:
            page = browser.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            names, presses = STATES[state]
            _give(page, f"http://localhost:{port}", [Path(folder, name) for name in names])
            for press in presses:
                _press(page, press)
            for size in options.size:
                _take(page, size, options.out / f"app-{state}{'' if size == 'desk' else f'-{size}'}.png")
            page.close()
        browser.close()
    return 0


def _give(page: Page, url: str, paths: list[Path]) -> None:
    page.goto(url)
    page.get_by_role("button", name="Try a drawn sample").wait_for()
    if not paths:
        return
    page.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(paths)
    page.locator(".st-key-save").wait_for()
    if len(paths) > 1:
        slices = page.locator(".st-key-list input[type=radio]")
        slices.nth(len(paths) - 1).wait_for(state="attached")
    page.locator('[data-testid="stProgress"]').wait_for(state="detached")


def _press(page: Page, press: str) -> None:
    if press.isascii():
        page.get_by_text(press, exact=True).click(force=True)
    else:
        page.get_by_label("Patient (optional)").fill(press)
        page.keyboard.press("Enter")


def _take(page: Page, size: str, path: Path) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(media="print" if size == "print" else "screen")
    # Streamlit moves what has another place, for a moment.
    page.wait_for_timeout(1500)
    with Image.open(io.BytesIO(page.screenshot())) as taken:
        taken.convert("RGB").save(path, optimize=True)


def _draw(folder: Path) -> None:
    """Draws the files that are given."""
    random = np.random.default_rng(1)
    for number, name in enumerate(SERIES, start=1):
        head = phantom.lesion() if 5 <= number <= 7 else phantom.clear()
        _dicom(folder / name, turns.noisy(head, len(head), random, 2), number)
    _dicom(
        folder / "localizer",
        phantom.clear(),
        1,
        SeriesInstanceUID="1.2.3.5",
        ImageType=r"ORIGINAL\PRIMARY\LOCALIZER",
    )
    _dicom(folder / "ct", phantom.clear(), 1, SeriesInstanceUID="1.2.3.6", Modality="CT")
    with zipfile.ZipFile(folder / "scan.zip", "w") as archive:
        for name in SERIES:
            archive.write(folder / name, f"scan/{name}")
    heads = [phantom.lesion() if 5 <= n <= 7 else phantom.clear() for n in range(1, SLICES + 1)]
    slices = [turns.noisy(head, len(head), random, 2).T for head in heads]
    # From the right to the left, and from front to back, as a slice is shown.
    voxels = np.stack(slices, axis=2)[::-1, ::-1]
    volume = nibabel.Nifti1Image(voxels, np.diag([0.9, 0.9, 8.0, 1.0]))  # type: ignore[no-untyped-call] # nibabel
    for name in ("head.nii", "again.nii"):
        nibabel.save(volume, folder / name)
    (folder / "DICOMDIR").write_bytes((folder / "IM01").read_bytes())
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    pictures = {"lesion": phantom.lesion(), "clear": phantom.clear(), "between": _between()}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    small = Image.fromarray(phantom.lesion()).resize((120, 120))
    ImageDraw.Draw(small).text((2, 0), "12 Mar\nTR 500", fill=255, font=ImageFont.load_default(9))
    small.save(folder / "small.png")
    Image.linear_gradient("L").save(folder / "gradient.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def _between() -> npt.NDArray[np.uint8]:
    """Returns a mixture of the drawn heads that the model is not sure of."""
    classifier = falx.load()
    for share in np.linspace(0, 1, 81):
        mixed = (1 - share) * phantom.clear() + share * phantom.lesion()
        if classifier.predict(mixed.astype(np.uint8)).decision == "ambiguous":
            break
    pixels: npt.NDArray[np.uint8] = mixed.astype(np.uint8)
    return pixels


def _dicom(path: Path, pixels: npt.NDArray[np.uint8], number: int, **tags: str) -> None:
    """Writes a slice of 12 bits with a window, 8 mm above the one before."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = "1.2.3", "1.2.3.4", "MR"
    made.EchoTime, made.RepetitionTime, made.InstanceNumber = 10, 500, number
    made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, 8 * number], [1, 0, 0, 0, 1, 0]
    made.PixelSpacing = [0.9, 0.9]
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.WindowCenter, made.WindowWidth = 1000, 1900
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    made.PixelData = (pixels.astype(np.uint16) * 8).tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.screenshots", description="Pictures of the page in each of its states."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to put them")
    parser.add_argument("--only", nargs="+", choices=STATES, default=list(STATES), help="these states")
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES), help="these sizes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
