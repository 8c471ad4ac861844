from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falx.reading import source as images
from falx_runs.errors import DataError
from falx_runs.manifest import (
    LEVELS,
    Box,
    LabelledVolume,
    Outlier,
    Record,
    read_outliers,
    read_records,
    read_volumes,
    targets,
    to_csv,
)


def put(folder: Path, *names: str) -> None:
    """Empty files: which images there are is told from names alone."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(records: list[Record], root: Path) -> list[tuple[str, str, str]]:
    return [(record.path.relative_to(root).as_posix(), record.label, record.split) for record in records]


def write(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_kaggle_layout_gives_splits(tmp_path: Path) -> None:
    put(tmp_path, "Training/glioma/a.jpg", "Training/notumor/b.jpg", "Testing/pituitary/c.JPG")
    put(tmp_path, "Testing/meningioma/deeper/d.png", "Testing/meningioma/notes.txt", "README.md")
    records = read_records(tmp_path)
    assert found(records, tmp_path) == [
        ("Testing/meningioma/deeper/d.png", "meningioma", "test"),
        ("Testing/pituitary/c.JPG", "pituitary", "test"),
        ("Training/glioma/a.jpg", "glioma", "train"),
        ("Training/notumor/b.jpg", "no_tumor", "train"),
    ]
    assert all(record.group == "" and record.source == "" and record.boxes == () for record in records)


@pytest.mark.parametrize("names", ["train Training", "val Validation valid val", "test TEST Testing"])
def test_division_folders(names: str, tmp_path: Path) -> None:
    split, *spellings = names.split()
    put(tmp_path, *(f"{name}/glioma/a.png" for name in (split, *spellings)))
    assert {record.split for record in read_records(tmp_path)} == {split}


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("no_tumor", ["notumor", "no_tumor", "No Tumor", "no-tumour", "no", "healthy", "normal"]),
        ("tumor_untyped", ["yes", "tumor", "tumor_untyped"]),
        ("glioma", ["glioma", "glioma_tumor", "Gliomas"]),
        ("meningioma", ["meningioma_tumor", "Meningioma"]),
        ("pituitary", ["pituitary", "pituitary_tumor", "Pituitary tumours"]),
    ],
)
def test_class_folders(label: str, names: list[str], tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/a.png" for name in names))
    expected = sorted((f"{name}/a.png", label, "") for name in names)
    assert sorted(found(read_records(tmp_path), tmp_path)) == expected


def test_every_suffix_the_runtime_reads_is_an_image_and_folders_of_tools_are_no_classes(
    tmp_path: Path,
) -> None:
    put(tmp_path, *(f"glioma/a{suffix}" for suffix in images.SUFFIXES), "glioma/a.csv")
    put(tmp_path, ".ipynb_checkpoints/a.png", "__MACOSX/glioma/a.png", "glioma/.cache/a.png")
    expected = {f"glioma/a{suffix}" for suffix in images.SUFFIXES}
    assert {path for path, *_ in found(read_records(tmp_path), tmp_path)} == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("glioma/a.png", "astrocytoma/a.png"),
            r"astrocytoma: 'astrocytoma' is not a class; expected no_tumor, meningioma, glioma, pituitary or "
            r"tumor_untyped",
        ),
        (
            ("Training/glioma/a.png", "glioma/a.png"),
            r"glioma: expected only folders such as Training and Testing here",
        ),
        *(
            (names, r"no images found; expected a manifest\.csv or one folder a class: ")
            for names in ((), ("glioma/readme.txt",), ("a.png",))
        ),
    ],
)
def test_a_folder_that_is_laid_out_otherwise_is_refused(
    names: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        read_records(tmp_path)


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: expected a manifest \(CSV\) or a folder of images"):
        read_records(tmp_path / "nowhere")
    path = tmp_path / "scan.png"
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(path)
    with pytest.raises(DataError, match=r"scan\.png: expected a CSV file with the columns path and label"):
        read_records(path)


def test_manifest_with_all_columns_in_any_order(tmp_path: Path) -> None:
    text = (
        "boxes,split,group,source,label,path,plane\n"
        "0.5 0.25 0.1 0.2; 0.75 0.5 1 1;,val,p1,scans,Glioma,b/2.png,axial\n"
        ",train,p2,,no tumor,a/1.png,\n"
    )
    write(tmp_path, text)
    boxes = (Box(0.5, 0.25, 0.1, 0.2), Box(0.75, 0.5, 1.0, 1.0))
    expected = [
        Record(tmp_path / "a/1.png", "no_tumor", "", "p2", "train"),
        Record(tmp_path / "b/2.png", "glioma", "scans", "p1", "val", "", "axial", boxes),
    ]
    assert read_records(tmp_path) == expected
    assert read_records(tmp_path / "manifest.csv") == expected


def test_manifest_with_the_least_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbfpath,label\r\n1.png,yes\r\n\r\n/elsewhere/2.png,glioma\r\n")
    assert read_records(path) == [
        Record(Path("/elsewhere/2.png"), "glioma"),
        Record(tmp_path / "1.png", "tumor_untyped"),
    ]


def test_records_written_are_read_again(tmp_path: Path) -> None:
    boxes = (Box(0.1 + 0.2, 1 / 3, 0.1, 1.0), Box(0.75, 0.5, 1e-3, 1 / 7))
    records = [
        Record(tmp_path / 'a, "b".png', "glioma", "scans, old", "p 1", "val", "T1C+", "axial", boxes, "base"),
        Record(tmp_path / "c.png", "tumor_untyped"),
    ]
    path = tmp_path / "elsewhere" / "data.csv"
    path.parent.mkdir()
    path.write_text(to_csv(records), encoding="utf-8")
    assert read_records(path) == records


def test_written_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert to_csv([Record(Path("x/../a.png"), "glioma")]).splitlines() == [
        "path,label,source,group,split,sequence,plane,boxes,level",
        f"{tmp_path.resolve() / 'a.png'},glioma,,,,,,,",
    ]


def test_a_name_that_is_no_text_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\\udcff\.png': expected a name in UTF-8"):
        to_csv([Record(tmp_path / "\udcff.png", "glioma")])


HERE = r"manifest\.csv, line 2: "
BOX = r"line 2: expected a box as 'x y w h'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must name the columns path and label; missing: label, path"),
        ("path,class\n1.png,glioma\n", r"must name the columns path and label; missing: label"),
        ("path,label\n", r"no images found"),
        ("path,label\n1.png,glioma\n\n2.png,cyst\n", r"manifest\.csv, line 4: 'cyst' is not a class; expect"),
        ("path,label\n1.png\n", HERE + "expected as many values as the first line has"),
        ("path,label\n1.png,glioma,9\n", HERE + "expected as many values as the first line has"),
        ("path,label\n,glioma\n", HERE + "the path is empty"),
        ("path,label,split\n1.png,glioma,dev\n", HERE + "expected split to be one of train, val, test; got"),
        (
            "path,label,level\n1.png,no_tumor,top\n",
            HERE + "expected level to be one of vertex, upper, middle, base; got 'top'",
        ),
        ("path,label,boxes\n1.png,glioma,1 2 3\n", f"{BOX} .*, got '1 2 3'"),
        ("path,label,boxes\n1.png,glioma,.1 .2 .3 .4 .5\n", BOX),
        ("path,label,boxes\n1.png,glioma,.1 .2 .3 wide\n", BOX),
        ("path,label,boxes\n1.png,glioma,.1 .2 nan .4\n", BOX),
        ("path,label,boxes\n1.png,glioma,.5 .5 0 .4\n", BOX),
        ("path,label,boxes\n1.png,glioma,120 80 30 30\n", r"in fractions of the image, got '120 80 30 30'"),
    ],
)
def test_bad_manifests_name_the_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_records(write(tmp_path, text))


def test_targets_allow_all_tumors_where_the_type_is_unknown() -> None:
    assert targets(["no_tumor", "glioma", "tumor_untyped"]) == [(1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 1, 1)]


@pytest.mark.parametrize(
    ("written", "plane"),
    [("ax", "axial"), ("Co", "coronal"), ("SA", "sagittal"), ("axial", "axial"), ("oblique", "oblique")],
)
def test_planes_have_one_spelling(written: str, plane: str, tmp_path: Path) -> None:
    (record,) = read_records(write(tmp_path, f"path,label,plane\na.png,no_tumor,{written}\n"))
    assert record.plane == plane


def test_outliers_of_a_manifest(tmp_path: Path) -> None:
    write(
        tmp_path,
        "path,kind,source,group,split,modality\nct/b.jpg,head_ct,cq,cq-1,train,CT\na.png,plot,,,,\n",
    )
    assert read_outliers(tmp_path) == [
        Outlier(tmp_path / "a.png", "plot"),
        Outlier(tmp_path / "ct/b.jpg", "head_ct", "cq", "cq-1", "train"),
    ]


def test_outliers_of_a_folder_have_its_folders_as_kinds(tmp_path: Path) -> None:
    put(tmp_path, "knee/deep/a.png", "knee/b.txt", "c.jpg", ".cache/d.png")
    assert read_outliers(tmp_path) == [
        Outlier(tmp_path / "c.jpg", tmp_path.name),
        Outlier(tmp_path / "knee/deep/a.png", "knee"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\n1.png\n", r"must name the columns path and kind; missing: kind"),
        ("path,kind\n1.png,\n", r"line 2: the kind is empty"),
        ("path,kind\n", r"no images found; expected a manifest\.csv or one folder a kind of picture"),
        ("path,kind,split\n1.png,plot,dev\n", r"line 2: expected split to be one of train, val, test"),
    ],
)
def test_bad_manifests_of_outliers_name_the_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_outliers(write(tmp_path, text))


def test_volumes_of_a_manifest(tmp_path: Path) -> None:
    write(
        tmp_path,
        "path,label,sequence,slices,note\nb.nii.gz,glioma,T1,3 4 5,skull off\na.nii.gz,no tumor,,,\n",
    )
    assert read_volumes(tmp_path) == [
        LabelledVolume(tmp_path / "a.nii.gz", "no_tumor"),
        LabelledVolume(tmp_path / "b.nii.gz", "glioma", sequence="T1", slices=(3, 4, 5)),
    ]


def test_bad_volumes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no manifest\.csv, which says what each volume shows"):
        read_volumes(tmp_path)
    with pytest.raises(DataError, match=r"line 2: expected slices as numbers from 0, got '3 -4'"):
        read_volumes(write(tmp_path, "path,label,slices\na.nii.gz,glioma,3 -4\n"))


def test_the_collections_beside_the_checkout_can_be_read(data_folder: Path) -> None:
    records = read_records(data_folder)
    assert {record.level for record in records} == {"", *LEVELS}
    assert {record.plane for record in records} == {"", "axial", "coronal", "sagittal"}
    for name in ("outliers", "studies"):
        if not (data_folder.with_name(name) / "manifest.csv").is_file():
            pytest.skip(f"no {name} beside {data_folder}")
    outliers = read_outliers(data_folder.with_name("outliers"))
    assert {outlier.kind for outlier in outliers} > {"head_ct", "head_end"}
    volumes = read_volumes(data_folder.with_name("studies"))
    assert all((volume.label == "no_tumor") == (volume.slices == ()) for volume in volumes)
