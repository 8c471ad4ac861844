from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw
from tests.pictures import Pixels

from falx import phantom
from falx.reading import source
from falx.slices.limits import Limits
from falx.slices.reasons import REASONS, Reason
from falx.slices.rejection import check, check_familiarity
from falx.slices.slice import Slice

LIMITS = Limits()
DATA = Path(os.environ.get("FALX_DATA", Path(__file__).parents[3] / "shared" / "data"))
rng = np.random.default_rng(5)


def code(pixels: npt.NDArray[Any], colour: float = 0.0) -> str | None:
    reason = check(Slice(pixels.astype(np.uint8), colour), LIMITS)
    return None if reason is None else reason.code


def page(paper: int, ink: int) -> Pixels:
    image = Image.new("L", (600, 800), paper)
    draw = ImageDraw.Draw(image)
    for row in range(30, 760, 16):
        draw.text((20, row), "no sign of any lesion in this report " * 3, fill=ink)
    return np.asarray(image)


def shapes(outline: int = 80) -> Pixels:
    image = Image.new("L", (256, 256), 0)
    ImageDraw.Draw(image).ellipse((40, 50, 200, 210), outline=180, width=outline)
    return np.asarray(image)


@pytest.mark.parametrize("name", phantom.PHANTOMS)
@pytest.mark.parametrize("side", [64, 256, 1000])
def test_drawn_heads_pass(name: str, side: int) -> None:
    image = Image.fromarray(phantom.PHANTOMS[name]()).resize((side, side))
    assert code(np.asarray(image)) is None


def framed(head: Pixels) -> Pixels:
    """The head with a white frame and a letter."""
    head = head.copy()
    head[:4] = head[-4:] = head[:, :4] = head[:, -4:] = head[10:22, 10:20] = 255
    return head


def dim(head: Pixels) -> Pixels:
    """The head with a hot pixel, beside which it is dim."""
    head = head // 3
    head[0, 0] = 255
    return head


@pytest.mark.parametrize(
    "changed",
    [
        *(np.fliplr, np.flipud, np.rot90, framed, dim),
        lambda head: np.pad(head, 40),
        lambda head: np.pad(head, ((0, 0), (90, 90))),
    ],
)
def test_heads_pass_however_they_lie(changed: Any, head: Pixels) -> None:
    assert code(changed(head)) is None


NOISE = [(1, 1), (1, 500), (63, 300), (300, 63), (64, 64), (64, 5000), (5000, 64), (8000, 65)]


@pytest.mark.parametrize("shape", NOISE)
def test_noise_of_no_shape_is_a_slice(shape: tuple[int, int]) -> None:
    assert code(rng.integers(0, 256, shape)) == ("too_small" if min(shape) < 64 else "no_head")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank(level: int) -> None:
    assert code(np.full((128, 128), level)) == "blank"
    assert code(np.full((128, 128), level) - rng.integers(0, 20, (128, 128)).clip(0, level)) == "blank"


def test_not_grey(head: Pixels) -> None:
    assert (code(head, colour=0.2), code(head, colour=0.02)) == ("not_grey", None)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (rng.integers(0, 256, (256, 256)), "corners are bright"),
        (np.tile(np.arange(256), (256, 1)), "corners are bright"),
        (page(255, 0), "corners are bright"),
        (page(0, 255), "lines on black"),
        (shapes(), "smooth as a drawing"),
        (shapes(outline=14), "scattered"),
        (np.pad(rng.integers(0, 2, (48, 48)).repeat(3, 0).repeat(3, 1) * 165 + 90, 24), "rough as noise"),
        (np.pad(rng.integers(90, 256, (24, 24)), 116), "Nearly all of it is dark"),
    ],
)
def test_no_head(pixels: npt.NDArray[Any], found: str) -> None:
    reason = check(Slice(pixels.astype(np.uint8)), LIMITS)
    assert reason is not None
    assert reason.code == "no_head"
    assert reason.message.startswith(REASONS["no_head"])
    assert found in reason.message


@pytest.mark.parametrize(
    ("reason", "code", "message"),
    [
        (
            check(Slice(np.zeros((10, 20), np.uint8)), LIMITS),
            "too_small",
            "The picture has too few pixels to show a slice. It has 20 x 10 pixels, 64 a side are needed.",
        ),
        (
            check_familiarity(0.1234, Limits(least_familiarity=0.5)),
            "unfamiliar",
            "The picture does not look like the brain MRI slices that the model learned from. "
            "Its familiarity is 0.123, 0.5 is needed.",
        ),
        (
            check_familiarity(0.1234, Limits(least_familiarity=0.5), no_brain=0.7),
            "no_brain",
            "The picture seems to show a head without brain: scalp, neck or face. "
            "Its familiarity is 0.123, 0.5 is needed.",
        ),
    ],
    ids=["too_small", "unfamiliar", "no_brain"],
)
def test_a_message_is_the_sentence_and_what_was_found(reason: Reason, code: str, message: str) -> None:
    assert reason == Reason(code, message)


def test_the_limits_of_the_card_decide() -> None:
    small = np.asarray(Image.fromarray(phantom.clear()).resize((40, 40)))
    assert check(Slice(small), Limits(minimum_side=32)) is None
    assert check(Slice(phantom.clear()), Limits(maximum_detail=0.1)) is not None


@pytest.mark.parametrize(
    ("familiarity", "least", "code"),
    [
        (None, 1, None),
        (0.0, 0, None),
        (0.5, 0.5, None),
        (np.nextafter(0.5, 0), 0.5, "unfamiliar"),
        (0.0, 0.01, "unfamiliar"),
    ],
)
def test_a_familiarity_below_the_least_is_a_reason(
    familiarity: float | None, least: float, code: str | None
) -> None:
    reason = check_familiarity(familiarity, Limits(least_familiarity=least))
    assert (reason and reason.code) == code


@pytest.mark.skipif(not (DATA / "manifest.csv").exists(), reason=f"no MRI data at {DATA} (FALX_DATA)")
def test_real_slices_are_hardly_ever_rejected() -> None:
    with (DATA / "manifest.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] != "test"][::3]
    reasons = [check(source.read(DATA / row["path"]), LIMITS) for row in rows]
    assert sum(reason is not None for reason in reasons) <= 0.004 * len(rows)


def test_limits_round_trip_and_have_defaults() -> None:
    assert Limits.from_mapping(LIMITS.to_dict()) == LIMITS
    assert Limits.from_mapping({"minimum_side": 100}) == Limits(minimum_side=100)
    assert Limits(least_familiarity=1).least_familiarity == 1


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("minimum_side", (-1, float("nan"), float("inf"), "3", None, True), "minimum_side must be"),
        ("least_familiarity", (1.01, -0.5, float("nan")), r"least_familiarity must be (in 0\.\.1|finite)"),
        ("minimum_sid", (3,), "unknown parameter minimum_sid; known are least_familiarity, maximum_b"),
    ],
)
def test_limits_that_are_none(name: str, values: tuple[Any, ...], message: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=message):
            Limits.from_mapping({name: value})
