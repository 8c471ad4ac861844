from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from falx import study as module
from falx.decision import DEFAULT_THRESHOLDS
from falx.errors import UnreadableImage
from falx.prediction import Failure, ModelIdentity, Prediction
from falx.slices.reasons import Reason
from falx.study import GREATEST_GAP_MM, LEAST_EXTENT_MM, LEAST_SLICES, Series, judge, sum_up
from falx.words import LABELS, band

MODEL = ModelIdentity("falx-1", "0.1.0", "ab" * 32)
FAILURE = Failure("x.dcm", UnreadableImage("x.dcm: damaged"))


def answer(decision: str, confidence: float | None = None) -> Prediction:
    if confidence is None and decision in LABELS:
        confidence = 0.95
    return Prediction(
        decision=decision,
        confidence=confidence,
        band=None if confidence is None else band(confidence),
        probabilities=None,
        recommendation="Look.",
        thresholds=DEFAULT_THRESHOLDS,
        reason=Reason("blank", "It is.") if decision == "rejected" else None,
        elapsed_ms=1.0,
        model=MODEL,
        path=None,
    )


CLEAN = answer("no_tumor")
DOUBT = answer("ambiguous")
NOTHING = answer("rejected")


def head(*changes: tuple[int, Prediction | Failure], slices: int = 25, step: float = 5.0) -> Series:
    """A whole head of clean slices, some of them replaced."""
    results: list[Prediction | Failure] = [CLEAN] * slices
    for index, result in changes:
        results[index] = result
    return Series(results=tuple(results), positions_mm=tuple(step * i for i in range(slices)))


def test_a_whole_head_of_clean_slices_is_clear_as_far_as_its_least_sure_slice() -> None:
    verdict = judge([head((7, answer("no_tumor", 0.8)))])
    assert (verdict.decision, verdict.confidence, verdict.band) == ("no_tumor", 0.8, "moderate")
    assert (verdict.carriers, verdict.counts, verdict.complete) == ((7,), {"no_tumor": 25}, True)
    assert verdict.reason == "No tumour in 25 slices, least surely in slice 8 of 25: 80.0 %."


@pytest.mark.parametrize("others", [20, 200, 2000])
def test_one_confident_tumour_slice_is_never_lost_among_clean_ones(others: int) -> None:
    for index in (0, others // 2, others - 1):
        verdict = judge([head((index, answer("glioma", 0.85)), slices=others), head(slices=others)])
        assert (verdict.decision, verdict.label, verdict.carriers) == ("tumor", "glioma", (index,))
        assert verdict.confidence == 0.85
        assert f"slice {index + 1} of {others} in series 1" in verdict.reason


def test_an_unsure_tumour_slice_alone_is_a_doubt_and_named() -> None:
    verdict = judge([head((11, answer("meningioma", 0.8)))])
    assert (verdict.decision, verdict.label, verdict.confidence) == ("ambiguous", None, None)
    assert verdict.carriers == (11,)
    assert verdict.reason == (
        "Not clear in slice 12 of 25. A tumour, but not surely and in no neighbour, in slice 12 of 25."
    )


def test_two_unsure_neighbours_are_a_tumour_also_with_a_rejected_slice_between() -> None:
    weak = answer("meningioma", 0.6), answer("glioma", 0.7)
    verdict = judge([head((11, weak[0]), (12, weak[1]))])
    assert (verdict.decision, verdict.label, verdict.carriers) == ("tumor", None, (11, 12))
    assert verdict.confidence == 0.7
    assert judge([head((11, weak[0]), (12, NOTHING), (13, weak[1]))]).decision == "tumor"
    assert judge([head((11, weak[0]), (13, weak[1]))]).decision == "ambiguous"
    assert judge([head((11, weak[0]), (12, weak[1]), step=GREATEST_GAP_MM + 1)]).decision == "ambiguous"


def test_where_the_order_is_unknown_any_two_unsure_tumour_slices_of_a_series_are_neighbours() -> None:
    weak = answer("pituitary", 0.6)
    assert judge([Series(results=(weak, CLEAN, CLEAN, weak))]).carriers == (0, 3)
    apart = Series(results=(weak, CLEAN)), Series(results=(CLEAN, weak))
    assert judge(apart).decision == "ambiguous"


def test_the_label_is_that_of_more_than_half_of_the_carriers() -> None:
    glioma, meningioma = answer("glioma", 0.9), answer("meningioma", 0.99)
    three = judge([head((3, glioma), (4, glioma), (5, meningioma))])
    assert (three.label, three.confidence) == ("glioma", 0.99)
    assert three.reason == (
        "A tumour was found in slices 4 to 6 of 25, most surely in slice 6 of 25: meningioma, 99.0 %."
    )
    assert judge([head((3, glioma), (5, meningioma))]).label is None


def test_ambiguous_slices_count() -> None:
    verdict = judge([head((3, DOUBT), (9, DOUBT), (10, DOUBT))])
    assert (verdict.decision, verdict.carriers) == ("ambiguous", (3, 9, 10))
    assert verdict.reason == "Not clear in slices 4, 10 to 11 of 25."


def test_rejected_slices_do_not_make_a_study_clean() -> None:
    assert judge([Series(results=(NOTHING,) * 40)]).decision == "rejected"
    mostly = Series(results=(NOTHING,) * 40 + (CLEAN,) * (LEAST_SLICES - 1))
    verdict = judge([mostly])
    assert (verdict.decision, verdict.complete, verdict.carriers) == ("ambiguous", False, ())
    assert verdict.reason == (
        "No tumour in 11 slices, but they do not show a whole head. "
        "11 slices could be classified, a whole head takes 12."
    )


def test_rejected_slices_above_and_below_the_head_do_no_harm_but_a_hole_does() -> None:
    ends = head((0, NOTHING), (1, NOTHING), (24, NOTHING))
    assert judge([ends]).decision == "no_tumor"
    hole = head((10, NOTHING), (11, NOTHING))
    assert judge([hole]).decision == "ambiguous"
    assert hole.gaps == ("Between two of them 15 mm are not shown.",)
    unordered = dataclasses.replace(head((10, NOTHING)), positions_mm=None)
    assert unordered.gaps == ("1 slice between others rejected.",)
    assert dataclasses.replace(ends, positions_mm=None).gaps == ()


def test_a_part_of_a_head_is_not_clear() -> None:
    slab = head(slices=90, step=1.0)
    assert judge([slab]).decision == "ambiguous"
    assert slab.gaps == (f"They span 89 mm, a whole head takes {LEAST_EXTENT_MM:g} mm.",)
    assert judge([head(slices=13, step=GREATEST_GAP_MM + 0.5)]).decision == "ambiguous"
    # Beside a whole head that is clean, a part that is clean changes nothing.
    assert judge([head(), slab]).decision == "no_tumor"
    assert judge([slab, slab]).decision == "ambiguous"


def test_what_could_not_be_read_is_not_clear_but_hides_no_tumour() -> None:
    verdict = judge([head(), head((3, FAILURE))])
    assert (verdict.decision, verdict.complete) == ("ambiguous", False)
    assert verdict.counts == {"no_tumor": 49, "error": 1}
    assert verdict.reason == "1 slice could not be read, the others show no tumour."
    assert judge([head((3, FAILURE), (4, answer("glioma")))]).decision == "tumor"


def test_nothing_at_all_is_rejected() -> None:
    assert judge([]).reason == "No slice could be classified: there is none."
    verdict = judge([Series(results=(NOTHING, NOTHING, FAILURE))])
    assert (verdict.decision, verdict.reason) == (
        "rejected",
        "No slice could be classified (2 blank, 1 unread).",
    )


def test_no_order_and_no_further_clean_slice_changes_a_tumour() -> None:
    draw = np.random.default_rng(7)
    pool: list[Prediction | Failure] = [
        CLEAN,
        DOUBT,
        NOTHING,
        FAILURE,
        answer("glioma", 0.7),
        answer("meningioma", 0.97),
    ]
    for _ in range(300):
        kinds = draw.choice(6, draw.integers(1, 40), p=[0.74, 0.08, 0.08, 0.04, 0.03, 0.03])
        results = tuple(pool[kind] for kind in kinds)
        before = judge([Series(results=results)]).decision
        after = judge([Series(results=(*results, *(CLEAN,) * 60))]).decision
        assert (before == "tumor") == (after == "tumor")
        if any(r is pool[5] for r in results):
            assert before == "tumor"
        if any(r in (DOUBT, FAILURE) or r is pool[4] for r in results):
            assert after in ("tumor", "ambiguous")


def test_a_study_as_json() -> None:
    first = dataclasses.replace(
        head((4, answer("glioma", 0.9))), uid="1.2.3", plane="axial", sequence="FLAIR", notes=("Cut.",)
    )
    study = sum_up(
        [first, Series(results=(CLEAN, DOUBT))], path="exam", uid="1.2", notes=["Two."], elapsed_ms=12.345
    )
    document = json.loads(json.dumps(study.to_dict()))
    slices, series = document.pop("slices"), document.pop("series")
    assert document == {
        "schema": 1,
        "path": "exam",
        "study_instance_uid": "1.2",
        "decision": "tumor",
        "label": "glioma",
        "confidence": 0.9,
        "band": "high",
        "reason": "A tumour was found in slice 5 of 25 in series 1 (axial FLAIR): glioma, 90.0 %.",
        "complete": True,
        "carriers": [4],
        "counts": {"no_tumor": 25, "glioma": 1, "ambiguous": 1},
        "recommendation": module.RECOMMENDATIONS["tumor"],
        "notes": ["Two."],
        "model": MODEL.to_dict(),
        "elapsed_ms": 12.35,
    }
    assert slices == [result.to_dict() for result in study.results]
    assert [(one["decision"], one["slices"], one["carriers"]) for one in series] == [
        ("tumor", [0, 25], [4]),
        ("ambiguous", [25, 27], [26]),
    ]
    assert (series[0]["plane"], series[0]["sequence"], series[0]["notes"]) == ("axial", "FLAIR", ["Cut."])
    assert series[0]["positions_mm"][:3] == [0, 5, 10]
    assert series[1]["positions_mm"] is None
    documented = module.__doc__ or ""
    assert all(f"`{key}`" in documented for key in (*study.to_dict(), *series[0]))


def test_positions_must_fit() -> None:
    with pytest.raises(ValueError, match="a position for each of 2 results, got 1"):
        Series(results=(CLEAN, CLEAN), positions_mm=(0.0,))
    with pytest.raises(ValueError, match="positions that rise"):
        Series(results=(CLEAN, CLEAN), positions_mm=(1.0, 0.0))
