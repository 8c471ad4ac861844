"""The images of a study that are set aside, as Siemens, GE and Philips write them, and those that are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from tests.reading.dicom import made
from tests.reading.dicom.test_studies import SLICES, series
from tests.reading.dicom.test_tags import enhanced, item

from falx import phantom
from falx.reading.series import Gathering, gather

USED: dict[str, dict[str, Any]] = {
    "Siemens MPRAGE": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
        "SeriesDescription": "t1_mpr_ns_sag_p2_iso",
    },
    "Siemens, distortion corrected": {"ImageType": ["DERIVED", "PRIMARY", "M", "NORM", "DIS3D", "DIS2D"]},
    "Philips T1": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
        "DiffusionBValue": 0.0,
        "SeriesDescription": "sT1W_3D_TFE FA 15",
    },
    "GE T1": {"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "SeriesDescription": "Ax T1 FSE no phase wrap"},
    "a name like a word": {"SeriesDescription": "t2_tse_tra MIPPERSON LOCKE"},
}

SET_ASIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "Siemens phase": ("phase", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}),
    "Siemens ADC": ("map", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"]}),
    "Siemens trace": ("map", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND"]}),
    "Siemens mosaic": ("mosaic", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM", "MOSAIC"]}),
    "Siemens MinIP": ("projection", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "RETRO", "NORM", "MNIP"]}),
    "Siemens MPR": ("projection", {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
    "Siemens perfusion map": ("map", {"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "RELCBV", "ND"]}),
    "Siemens field map": (
        "map",
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "SeriesDescription": "gre_field_mapping"},
    ),
    "Siemens functional": ("time_series", {"SeriesDescription": "ep2d_bold_moco"}),
    "Siemens XA functional": ("time_series", {"ImageType": ["ORIGINAL", "PRIMARY", "FMRI", "NONE"]}),
    "Siemens XA diffusion": ("diffusion", {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]}),
    "Siemens localizer": ("localizer", {"SeriesDescription": "AAHScout"}),
    "Siemens phase of SWI": ("phase", {"SeriesDescription": "Pha_Images"}),
    "Philips phase": ("phase", {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}),
    "Philips real": ("phase", {"ImageType": ["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"]}),
    "Philips imaginary": ("phase", {"ImageType": ["ORIGINAL", "PRIMARY", "I_SE", "I", "SE"]}),
    "Philips field map": ("map", {"ImageType": ["ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"]}),
    "Philips ADC": ("map", {"ImageType": ["ORIGINAL", "PRIMARY", "ADC_UNSPECIFIED", "ADC", "UNSPECIFIED"]}),
    "Philips survey": ("localizer", {"SeriesDescription": "Survey_32ch_HeadCoil"}),
    "Philips diffusion": ("diffusion", {"DiffusionBValue": 1000.0}),
    "a phase image by its unit": ("phase", {"RescaleType": "milliradial"}),
    "a field map by its values": ("phase", {"RescaleIntercept": -300.0, "RescaleSlope": 0.15}),
    "GE screen save": ("projection", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
    "GE MinIP": ("projection", {"ImageType": ["DERIVED", "SECONDARY", "PROCESSED", "MIN IP"]}),
    "GE reformat": ("projection", {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]}),
    "GE CBF": ("map", {"ImageType": ["DERIVED", "SECONDARY", "CBF"]}),
    "a phase image of any maker": ("phase", {"ComplexImageComponent": "PHASE"}),
    "a projection of any maker": ("projection", {"VolumeBasedCalculationTechnique": "MAX_IP"}),
    "a perfusion series of any maker": ("time_series", {"AcquisitionContrast": "PERFUSION"}),
    "a mosaic by its size": ("mosaic", {"PixelSpacing": [3.6, 3.6]}),
    "a quality control image": ("phantom", {"QualityControlImage": "YES"}),
    "a phantom by its body part": ("phantom", {"BodyPartExamined": "PHANTOM"}),
    "a phantom by its name": ("phantom", {"ProtocolName": "ACR Phantom T1"}),
    "a phantom by its patient": ("phantom", {"PatientID": "Erika-0815", "PatientName": "Head^Phantom"}),
    "Siemens fat image": ("map", {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "FAT", "ND"]}),
    "Philips SmartBrain": ("localizer", {"SeriesDescription": "SmartBrain"}),
    "CT": ("not_mr", {"Modality": "CT"}),
    "text burned in": ("annotated", {"BurnedInAnnotation": "YES"}),
}


def reasons(found: Gathering) -> list[tuple[int, str]]:
    return [(one.slices, one.reason.code) for one in found.not_used]


@pytest.mark.parametrize("name", USED)
def test_a_diagnostic_series_is_used(tmp_path: Path, name: str) -> None:
    series(tmp_path, **USED[name])
    found = gather(tmp_path)
    assert ([len(one.sources) for one in found.series], found.not_used) == ([SLICES], ())


@pytest.mark.parametrize("name", SET_ASIDE)
def test_what_is_none_is_set_aside_with_the_reason(tmp_path: Path, name: str) -> None:
    code, changes = SET_ASIDE[name]
    series(tmp_path / "head")
    series(tmp_path / "other", "1.2.3.9", **changes)
    found = gather(tmp_path)
    assert [one.uid for one in found.series] == ["1.2.3.4"]
    assert reasons(found) == [(SLICES, code)]
    assert found.not_used[0].uid == "1.2.3.9"
    assert made.NAME.split("^")[0] not in found.not_used[0].reason.message


@pytest.mark.parametrize(("group", "element", "vr", "value"), [
    (0x0043, 0x102F, "SS", 1),
    (0x0043, 0x1039, "IS", ["1000000800", "8", "0", "0"]),
    (0x0019, 0x100C, "IS", "1000"),
])  # fmt: skip
def test_private_elements_are_read(tmp_path: Path, group: int, element: int, vr: str, value: Any) -> None:
    maker = {0x0043: "GEMS_PARM_01", 0x0019: "SIEMENS MR HEADER"}[group]
    for path in series(tmp_path, count=3):
        part = pydicom.dcmread(path)
        part.private_block(group, maker, create=True).add_new(element & 0xFF, vr, value)
        part.save_as(path)
    (only,) = gather(tmp_path).not_used
    assert only.reason.code == ("phase" if element == 0x102F else "diffusion")
    assert "1000" in only.reason.message or "800" in only.reason.message or vr == "SS"


def planes(folder: Path, uid: str, count: int, **changes: Any) -> None:
    axes = ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1])
    for number, own in enumerate(axes):
        for n in range(count):
            series(
                folder / f"{number}-{n}",
                uid,
                1,
                SOPInstanceUID=f"{uid}.{number}.{n}",
                ImageOrientationPatient=own,
                ImagePositionPatient=[10.0 * n] * 3,
                **changes,
            )


def test_three_planes_in_one_series_are_a_localizer(tmp_path: Path) -> None:
    series(tmp_path / "head")
    planes(tmp_path, "1.2.3.9", 3, ImageType=["ORIGINAL", "PRIMARY", "OTHER"])
    found = gather(tmp_path)
    assert ([one.uid for one in found.series], reasons(found)) == (["1.2.3.4"], [(9, "localizer")])
    said = "One series has 3 axial, 3 coronal, 3 sagittal places."
    assert found.not_used[0].reason.message.endswith(said)
    # One may be as long as a head; but three planes that an anonymiser put into one series are none.
    planes(tmp_path / "long", "1.2.3.9", 15, SeriesNumber=1)
    assert reasons(gather(tmp_path / "long")) == [(45, "localizer")]
    planes(tmp_path / "anonymised", "1.2.3.9", 12)
    assert [len(one.sources) for one in gather(tmp_path / "anonymised").series] == [12, 12, 12]


def test_a_slice_without_orientation_is_no_plane(tmp_path: Path) -> None:
    series(tmp_path, count=11, SeriesNumber=1)
    path = series(tmp_path / "lost", count=1, SeriesNumber=1)[0]
    lost = pydicom.dcmread(path)
    del lost.ImageOrientationPatient
    lost.save_as(path)
    found = gather(tmp_path)
    assert ([len(one.sources) for one in found.series], found.not_used) == ([11, 1], ())


def test_a_few_slices_far_apart_are_a_localizer_beside_a_head_and_alone_are_none(tmp_path: Path) -> None:
    for n, path in enumerate(series(tmp_path / "few", "1.2.3.9", 3)):
        made.change(path, ImagePositionPatient=[0, 0, 20 * n])
    assert [len(one.sources) for one in gather(tmp_path).series] == [3]
    series(tmp_path / "head")
    assert reasons(gather(tmp_path)) == [(3, "localizer")]


def test_a_series_of_wide_pixels_is_too_coarse(tmp_path: Path) -> None:
    small = np.asarray(Image.fromarray(phantom.clear()).resize((64, 64)))
    for n in range(5):
        place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 5 * n]}
        part = made.dataset(small, PixelSpacing=[3.4, 3.4], **place)
        (tmp_path / str(n)).write_bytes(made.written(part))
    assert reasons(gather(tmp_path)) == [(5, "coarse")]


def test_one_b_value_above_0_makes_a_series_diffusion(tmp_path: Path) -> None:
    for number, b in enumerate((0.0, 1000.0)):
        series(tmp_path / str(number), SOPInstanceUID=f"1.2.{number}", DiffusionBValue=b)
    found = gather(tmp_path)
    assert (found.series, reasons(found)) == ((), [(2 * SLICES, "diffusion")])


@pytest.mark.parametrize("tagged", [True, False])
def test_a_time_series_is_set_aside_by_its_tags_or_its_geometry(tmp_path: Path, tagged: bool) -> None:
    series(tmp_path / "head")
    for time in range(5):
        number = {"TemporalPositionIdentifier": time + 1} if tagged else {}
        for n, path in enumerate(series(tmp_path / str(time), "1.2.3.9", **number)):
            made.change(path, SOPInstanceUID=f"1.2.3.9.{n}.{time}")
    assert reasons(gather(tmp_path)) == [(5 * SLICES, "time_series")]


def test_magnitude_and_phase_of_one_series_stand_apart(tmp_path: Path) -> None:
    for kind in "MP":
        image_type = ["ORIGINAL", "PRIMARY", kind, "FFE"]
        series(tmp_path / kind, ImageType=image_type, SOPInstanceUID=f"1.2.{ord(kind)}")
    found = gather(tmp_path)
    assert ([len(one.sources) for one in found.series], reasons(found)) == ([SLICES], [(SLICES, "phase")])


KINDS = ("MAGNITUDE", "PHASE")
FRAMES: dict[str, tuple[str, Callable[[int], dict[str, Any]], list[int], list[tuple[int, str]]]] = {
    "diffusion": ("MRDiffusion", lambda n: {"DiffusionBValue": 1000.0 * (n % 2)}, [], [(12, "diffusion")]),
    "time": ("FrameContent", lambda n: {"TemporalPositionIndex": n % 6 + 1}, [], [(12, "time_series")]),
    "component": (
        "MRImageFrameType",
        lambda n: {"FrameType": ["ORIGINAL", "PRIMARY", "M", "NONE"], "ComplexImageComponent": KINDS[n >= 6]},
        [6],
        [(6, "phase")],
    ),
    "echo": ("MREcho", lambda n: {"EffectiveEchoTime": 20.0 if n % 2 else 90.0}, [6, 6], []),
}
"""The functional group of each frame of an enhanced object, the series that are used, and the others."""


@pytest.mark.parametrize("name", FRAMES)
def test_the_frames_of_an_enhanced_object_are_sorted_as_files_are(tmp_path: Path, name: str) -> None:
    keyword, group, used, unused = FRAMES[name]
    part = enhanced(np.stack([phantom.clear()] * 12))
    for n, frame in enumerate(part.PerFrameFunctionalGroupsSequence):
        setattr(frame, f"{keyword}Sequence", [item(**group(n))])
    (tmp_path / name).write_bytes(made.written(part))
    found = gather(tmp_path / name)
    assert ([len(one.sources) for one in found.series], reasons(found)) == (used, unused)
