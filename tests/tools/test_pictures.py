"""The pictures that are not brain MRI: drawn, dressed, and taken from packages where there are some."""

from __future__ import annotations

import io
import plistlib
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tools import drawings, pictures


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One drawing of a kind, not a dozen."""
    monkeypatch.setattr(pictures, "DRAWN", {})
    monkeypatch.setattr(pictures, "DRAWN_OTHERS", 1)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Packages as they look when unpacked, with drawn pictures in place of theirs."""
    folder = tmp_path / "packages"
    rng = np.random.default_rng(1)
    for name in (
        "opencv-doc/usr/share/examples/data/apple.jpg",
        "plasma-workspace-wallpapers/usr/share/wallpapers/Kite/contents/screenshot.jpg",
        "scikit-image/skimage/data/brick.png",
        "scikit-image/skimage/data/retina.jpg",
        "insighttoolkit5-examples/usr/share/FatMRISlice.png",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (60, 640, 3), np.uint8)).save(folder / name)
    np.save(folder / "scikit-image/skimage/data/lfw_subset.npy", rng.random((200, 25, 25)))
    cranium = folder / "invesalius-examples/usr/share/Cranium.inv3"
    cranium.parent.mkdir(parents=True)
    volume = np.full((16, 40, 50), -1000, "<i2")
    volume[:, 10:30, 10:30] = 60
    with tarfile.open(cranium, "w:gz") as archive:
        for name, data in (
            ("x/main.plist", plistlib.dumps({"matrix": {"dtype": "int16", "shape": [16, 40, 50]}})),
            ("x/matrix.dat", volume.tobytes()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return folder


def test_every_family_has_its_pictures(few: None, packages: Path, tmp_path: Path) -> None:
    counts = pictures.collect(tmp_path / "out", packages)
    drawn = {family: len(kinds) for family, kinds in drawings.DRAWINGS.items()}
    # Two of the packages, and three that come with scikit-learn and Matplotlib.
    assert counts == drawn | {
        "photographs": 5,
        "grey photographs": 5,
        "photographs in an outline": 3,
        "photographs with margins": 2,
        "surfaces": 6,
        "microscopy": 4,
        "faces": 13,
        "body MRI": 8,
        "head CT": 4,
    }
    originals = Counter(path.stem.partition("--")[0] for path in (tmp_path / "out").glob("*photo*/*.jpg"))
    assert originals["plasma-workspace-wallpapers-Kite"] == 3
    for path in (tmp_path / "out").glob("*/*"):
        with Image.open(path) as picture:
            assert max(picture.size) <= 512 + 2 * 0.2 * 512
            assert picture.mode == ("RGB" if path.parent.name == "photographs" else "L")
    # 60 HU on air, of -500..1500 and of 0..80.
    shown = {}
    for path in (tmp_path / "out" / "head CT").iterdir():
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        shown[path.stem] = (int(pixels[5, 5]), int(pixels[20, 20]))
    assert shown == {
        f"cranium--{number}-{window}": pytest.approx((0, grey), abs=3)
        for number in (4, 12)
        for window, grey in (("bone", 71), ("brain", 191))
    }
    again = tmp_path / "again"
    pictures.collect(again, packages)
    for path in (tmp_path / "out").glob("*/*"):
        assert (again / path.relative_to(tmp_path / "out")).read_bytes() == path.read_bytes()


def test_what_is_seen_through_an_outline_is_black_around() -> None:
    bright = np.full((80, 100), 200, np.uint8)
    for seed in range(5):
        head = drawings.in_head(bright, np.random.default_rng(seed))
        assert head.shape == (80, 100)
        assert head[40, 50] == 200
        assert not head[[0, 0, -1, -1], [0, -1, 0, -1]].any()
        margin = drawings.in_margin(bright, np.random.default_rng(seed))
        assert (margin == 200).sum() == bright.size
        assert not margin[0].any()


def test_packages_that_cannot_be_had_are_named(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*command: str, folder: Path) -> None:
        if command[0] == "apt-get":
            raise FileNotFoundError(f"no {command[0]}")
        raise subprocess.CalledProcessError(1, command, stderr="looking\nno such version\n")

    monkeypatch.setattr(pictures, "_run", refuse)
    out = tmp_path / "out"
    assert pictures.main(["--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "without imgaug==0.4.0: no such version\n" in said.err
    assert "without opencv-doc: no apt-get\n" in said.err
    assert said.err.count("\n") == len(pictures.PYPI) + len(pictures.DEBIAN)
    assert said.out.split()[-2:] == ["all", str(sum(path.suffix != "" for path in out.glob("[!.]*/*")))]
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width == 8 * 112
    with pytest.raises(SystemExit) as stopped:
        pictures.main(["--out", str(out)])
    assert stopped.value.code == 2
    assert "expected a new or empty folder" in capsys.readouterr().err
