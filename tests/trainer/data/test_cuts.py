from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.said import Command

from falx.errors import VolumeUnavailable
from falx.reading.input_file import InputFile
from falx.reading.volume import open_volume
from falx_runs.errors import DataError
from falx_runs.manifest import read_records
from falx_trainer.data import cuts
from falx_trainer.data.cuts import Head, cut_volumes

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (pip install 'falx[nifti]')")

Voxels = npt.NDArray[np.float32]

SIDES = {"top": (2, 60), "nose": (1, 70), "right": (0, 50)}
"""The axis, towards the right, the front and the head, and how far from the middle in mm three marks lie."""


def head(*, above: float = 40.0, step: tuple[float, float, float] = (2.0, 2.0, 3.0)) -> Voxels:
    """Draws an ellipsoid, 150 mm across, 190 long and 170 high, in a field that reaches `above` its top."""
    x, y, z = (
        np.arange(-half, half + reach, size)
        for half, reach, size in zip((100, 120, 100), (0, 0, above - 15), step, strict=True)
    )
    grid = np.meshgrid(x, y, z, indexing="ij")
    radius = np.sqrt(sum((one / half) ** 2 for one, half in zip(grid, (75, 95, 85), strict=True)))
    values = np.where(radius < 1, 100.0, 0.0)
    for grey, (axis, away) in zip((150, 200, 250), SIDES.values(), strict=True):
        mark = [one - away * (number == axis) for number, one in enumerate(grid)]
        values[np.sqrt(sum(one**2 for one in mark)) < 18] = grey
    return values.astype(np.float32)


def save(path: Path, values: Voxels, step: tuple[float, float, float] = (2.0, 2.0, 3.0)) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*step, 1.0])), path)
    return path


@pytest.mark.parametrize("step", [(2.0, 2.0, 3.5), (2.0, 3.5, 2.0), (3.5, 2.0, 2.0)])
def test_a_head_lies_the_same_however_it_was_acquired(
    step: tuple[float, float, float], tmp_path: Path
) -> None:
    volume = open_volume(InputFile.at(save(tmp_path / "a.nii", head(step=step), step)))
    found = Head.of(volume)
    assert found.plane == ("sagittal", "coronal", "axial")[step.index(3.5)]
    assert found.sizes_mm.tolist() == [step[2], step[1], step[0]]
    middle = {}
    for name, grey in zip(SIDES, (150, 200, 250), strict=True):
        places = np.argwhere(np.abs(found.grey - grey * 255 / 250) < 8) * found.sizes_mm
        middle[name] = places.mean(axis=0)
    # From the top down, from the front to the back, from the right to the left.
    assert middle["top"][0] < min(middle["nose"][0], middle["right"][0]) - 50
    assert middle["nose"][1] < min(middle["top"][1], middle["right"][1]) - 60
    assert middle["right"][2] < min(middle["top"][2], middle["nose"][2]) - 40


@pytest.mark.parametrize(
    ("plane", "mark", "place"),
    # The middle of the volume lies 12 mm above the middle of the head.
    [
        ("axial", 204, (128 - 70, 128)),
        ("coronal", 153, (128 - 48, 128)),
        ("sagittal", 204, (128 + 12, 128 - 70)),
    ],
)
def test_a_cut_is_shown_as_radiologists_see_it(
    plane: str, mark: int, place: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "TILT", 0.0)
    found = Head.of(open_volume(InputFile.at(save(tmp_path / "a.nii", head()))))
    at = {"axial": 40 + 85.0, "coronal": 120.0, "sagittal": 100.0}[plane]
    picture = found.cut(plane, at, np.random.default_rng(3))
    assert picture.shape == (256, 256)
    marked = np.argwhere(np.abs(picture.astype(int) - mark) < 5)
    assert np.median(marked, axis=0) == pytest.approx(place, abs=2)


def test_cuts_lie_where_the_brain_is(tmp_path: Path) -> None:
    found = Head.of(open_volume(InputFile.at(save(tmp_path / "a.nii", head()))))
    extents, whole = found.extents_mm()
    assert whole
    assert extents["axial"] == pytest.approx((40 + 14, 40 + 122), abs=8)
    assert extents["coronal"] == pytest.approx((25 + 22, 215 - 22), abs=10)
    assert extents["sagittal"] == pytest.approx((25 + 16, 175 - 16), abs=8)


def test_a_head_that_goes_on_above_the_volume_is_cut_from_its_first_level(tmp_path: Path) -> None:
    found = Head.of(open_volume(InputFile.at(save(tmp_path / "a.nii", head(above=-20)))))
    extents, whole = found.extents_mm()
    assert not whole
    assert extents["axial"][0] == 0


def studies(folder: Path, *rows: str) -> Path:
    (folder / "manifest.csv").write_text("\n".join(["path,label,source,group,split,sequence,plane", *rows]))
    return folder


def test_healthy_volumes_of_train_become_slices_with_a_manifest(
    tmp_path: Path, trainer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    heads, out = Path("heads"), Path("cut")
    heads.mkdir()
    save(heads / "healthy.nii.gz", head())
    save(heads / "open.nii.gz", head(above=-20))
    (heads / "broken.nii").write_bytes(b"no volume")
    studies(
        heads,
        "healthy.nii.gz,no_tumor,b,b-1,train,T2,axial",
        "open.nii.gz,no_tumor,b,b-2,,T1,axial",
        "broken.nii,no_tumor,b,b-3,train,T1,axial",
        "held.nii,no_tumor,b,b-4,test,T1,axial",
        "ill.nii,glioma,b,b-5,train,T1,axial",
    )
    command = "python -m falx_trainer cut heads --out cut"
    done = trainer(*command.split()[3:], "--each", 30, "--seed", 3)
    assert done.out.splitlines() == [
        "left out: heads/broken.nii: expected a NIfTI, MGH or NRRD volume, got text",
        "wrote cut/manifest.csv: 60 slices of 2 volumes",
    ]
    records = read_records(out)
    assert len(records) == 60
    first = [record for record in records if record.group == "b-1"]
    assert {(one.label, one.source, one.split, one.sequence) for one in first} == {
        ("no_tumor", "b", "train", "T2")
    }
    planes = [one.plane for one in first]
    assert 12 <= planes.count("axial") <= 24
    assert set(planes) == {"axial", "coronal", "sagittal"}
    assert {one.level for one in first if one.plane == "axial"} == {"vertex", "upper", "middle", "base"}
    assert {one.level for one in records if one.plane != "axial" or one.group == "b-2"} == {""}
    for one in records:
        with Image.open(one.path) as image:
            assert image.size == (256, 256)
            assert image.mode == "L"
            assert np.asarray(image).mean() > 10
    # The same seed cuts the same slices.
    before = {one.path: one.path.read_bytes() for one in records}
    cut_volumes(heads, out, each=30, seed=3)
    assert {path: path.read_bytes() for path in before} == before
    cut_volumes(heads, out, each=30, seed=2)
    assert not any(path.read_bytes() == data for path, data in before.items())


def test_a_missing_package_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.nii", "b.nii"):
        save(tmp_path / name, head())
    studies(tmp_path, "a.nii,no_tumor,,,,,", "b.nii,no_tumor,,,,,")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(VolumeUnavailable, match=r"a\.nii: a volume needs .* pip install 'falx\[nifti\]'$"):
        cut_volumes(tmp_path, tmp_path / "out", each=2, seed=1)


def test_volumes_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    heads = ["one/t1.nii.gz", "other/t1.nii.gz"]
    for path in heads:
        (tmp_path / path).parent.mkdir()
        save(tmp_path / path, head())
    studies(tmp_path, *(f"{path},no_tumor,,,,," for path in heads))
    cut_volumes(tmp_path, tmp_path / "out", each=2, seed=1)
    # Slices of one head are one group, so that they are never divided between splits.
    assert [(one.path.name, one.group) for one in read_records(tmp_path / "out")] == [
        ("t1-000.png", str(tmp_path / heads[0])),
        ("t1-001.png", str(tmp_path / heads[0])),
        ("t1-002.png", str(tmp_path / heads[1])),
        ("t1-003.png", str(tmp_path / heads[1])),
    ]


def test_a_number_of_slices_below_one_is_refused(trainer: Command, tmp_path: Path) -> None:
    said = trainer("cut", tmp_path, "--out", tmp_path / "out", "--each", 0)
    said.refuses("argument --each: expected a whole number from 1, got '0'")


def test_an_interrupt_promises_nothing(
    trainer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(cuts, "cut_volumes", interrupted)
    assert trainer("cut", tmp_path, "--out", tmp_path) == (130, "", "falx_trainer: interrupted\n")


def test_volumes_that_cannot_be_cut_are_named(tmp_path: Path) -> None:
    save(tmp_path / "air.nii", np.zeros((90, 90, 60), np.float32))
    with pytest.raises(DataError) as told:
        cut_volumes(studies(tmp_path, "air.nii,no_tumor,,,,,"), tmp_path / "out", each=2, seed=1)
    assert str(told.value) == (
        f"{tmp_path}: no volume can be cut\nleft out: {tmp_path / 'air.nii'}: no head is in it"
    )
    with pytest.raises(DataError) as told:
        cut_volumes(studies(tmp_path, "a.nii,glioma,,,,,"), tmp_path / "out", each=2, seed=1)
    assert str(told.value) == (
        f"{tmp_path}: expected volumes of the label no_tumor, of the split train or of none"
    )
