from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.pictures import encoded

from falx.reading.sniffing import START, Kind, kind_of
from falx.reading.source import FORMATS


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_of_every_format_are_told_by_their_start(kind: str) -> None:
    for mode in ("L", "RGB"):
        start = encoded(Image.new(mode, (4, 4)), kind)[:START]
        assert kind_of(start) is (Kind.TIFF if kind == "TIFF" else Kind.PICTURE)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"", Kind.TEXT),
        (b"BMI 24, weight 80", Kind.TEXT),
        (b"P2 was the second patient", Kind.TEXT),
        (b"P2\n# drawn\n2 2 255\n", Kind.PICTURE),
        (b"\x08\x00\x05\x00CS\n\0ISO_IR 100", Kind.DICOM),
        (bytes(128) + b"DICM", Kind.DICOM),
        (gzip.compress(b"text", mtime=0), Kind.GZIP),
        (gzip.compress(b"\x5c\x01\0\0" + bytes(340) + b"n+1\0", mtime=0), Kind.NIFTI),
        (b"\x1c\x02\0\0n+2\0\r\n\x1a\n", Kind.NIFTI),
        (b"\0\0\x01\x5c" + bytes(340) + b"ni1\0", Kind.NIFTI_PAIR),
        (b"NRRD0005\n", Kind.NRRD),
        (b"%PDF-1.7", Kind.PDF),
        (b"\xff\xfe", Kind.OTHER),
    ],
)
def test_what_a_file_is(start: bytes, kind: Kind) -> None:
    assert kind_of(start) is kind


@given(st.binary(max_size=START))
def test_every_start_is_of_one_kind(start: bytes) -> None:
    assert isinstance(kind_of(start), Kind)
    assert isinstance(kind_of(b"\x1f\x8b\x08" + start), Kind)
