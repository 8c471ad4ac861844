"""One decision for an examination: what each line of the rule says, and what it never does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.heads import CLEAN, DOUBT, FAILURE, MODEL, REJECTED, SURE, Answer, answer, head

from falx import study as module
from falx.decision import DEFAULT_THRESHOLDS
from falx.finding import GREATEST_GAP_MM, LEAST_EXTENT_MM
from falx.reading.series import Gathering, NotUsed, Series
from falx.slices.reasons import reason_of
from falx.study import LEAST_SLICES, gaps, judge, sum_up

SCOUT = NotUsed("1.2.3", 9, reason_of("localizer", "One series has three planes."))


def unordered(*results: Answer) -> tuple[Series, tuple[Answer, ...]]:
    return Series(sources=(b"",) * len(results)), results


def told(*series: tuple[Series, tuple[Answer, ...]]) -> tuple[str, float]:
    """The decision on series of a head, and how strong the finding is."""
    verdict = judge(list(series))
    return verdict.decision, round(verdict.strength_mm, 3)


def test_a_whole_head_of_clean_slices_is_clear() -> None:
    verdict = judge([head({7: answer("no_tumor", 0.09, (2, 2))})])
    assert (verdict.decision, verdict.label, verdict.carriers) == ("no_tumor", None, (7,))
    assert (verdict.counts, verdict.complete) == ({"no_tumor": 28}, True)
    # The mean of the 19 middle slices, 18 of them 0.95.
    assert verdict.confidence == pytest.approx((18 * 0.95 + 0.91) / 19)
    assert verdict.reason == (
        "No region is marked through neighbouring slices in 28 slices; the least sure is slice 8 of 28 "
        "(axial): 91.0 %."
    )


def test_a_spot_marked_through_neighbours_is_a_tumour() -> None:
    verdict = judge([head(dict.fromkeys((10, 11, 12), SURE))])
    assert (verdict.decision, verdict.label, verdict.carriers) == ("tumor", "glioma", (10, 11, 12))
    # 15 mm with marks of 0.9.
    assert verdict.strength_mm == pytest.approx(13.5)
    assert verdict.confidence == pytest.approx(0.9)
    assert verdict.band == "high"
    assert verdict.reason == (
        "A region is marked through slices 11 to 13 of 28 (axial) with a strength of 13.5 mm, most surely in "
        "slice 11 of 28 (axial): a tumour, 90.0 %, likeliest a glioma."
    )


def test_one_slice_alone_never_is() -> None:
    verdict = judge([head({11: SURE})])
    assert (verdict.decision, verdict.carriers, verdict.confidence) == ("ambiguous", (11,), None)
    assert verdict.reason == (
        "A region is marked in slice 12 of 28 (axial) with a strength of 4.5 mm: too weak, or in too few "
        "slices, for a tumour (from 10 mm), and too strong for none (below 3 mm)."
    )
    assert verdict.strength_mm == pytest.approx(4.5)
    thick = judge([head({6: answer("glioma", 1.0)}, slices=14, step=10.0)])
    assert thick.decision == "ambiguous"
    assert thick.strength_mm == pytest.approx(10.0)


def test_a_finding_without_a_slice_that_is_decided_a_tumour_is_a_doubt() -> None:
    verdict = judge([head(dict.fromkeys((10, 11, 12), answer("ambiguous", 0.9)))])
    assert (verdict.decision, verdict.carriers) == ("ambiguous", (10, 11, 12))
    assert verdict.reason == (
        "A region is marked in slices 11 to 13 of 28 (axial) with a strength of 13.5 mm: no slice of it is "
        "decided a tumour, and it is too strong for none (below 3 mm)."
    )


def test_slices_that_mark_different_spots_are_no_finding() -> None:
    spots = [answer("glioma", 0.9, cell) for cell in ((2, 2), (7, 7), (11, 3))]
    assert told(head(dict(enumerate(spots, 10)))) == ("ambiguous", 4.5)


def test_one_place_is_not_its_own_neighbour() -> None:
    series, results = head({11: SURE})
    at = series.positions_mm or ()
    twice = Series(sources=(b"",) * 29, positions_mm=(*at[:12], at[11], *at[12:]), plane="axial")
    assert told((twice, (*results[:12], SURE, *results[12:]))) == ("ambiguous", 4.5)


def test_a_rejected_slice_between_does_not_part_a_finding_but_a_wide_gap_does() -> None:
    between = {10: SURE, 11: REJECTED, 12: SURE}
    assert judge([head(between)]).decision == "tumor"
    assert judge([head({10: SURE, 11: REJECTED, 12: REJECTED, 13: SURE})]).decision == "ambiguous"
    apart = judge([head({8: SURE, 9: SURE}, slices=14, step=GREATEST_GAP_MM + 1)])
    assert apart.decision == "ambiguous"


def test_the_ends_of_the_head_call_no_tumour() -> None:
    for first in (0, 24):
        verdict = judge([head(dict.fromkeys(range(first, first + 4), SURE))])
        assert (verdict.decision, verdict.carriers) == ("ambiguous", tuple(range(first, first + 4)))
        assert verdict.reason.startswith("A region is marked at an end of the head")
    # 13.5 mm: models mark as much in healthy heads.
    weak = head(dict.fromkeys(range(25, 28), SURE))
    # 150 mm below the top: face and neck.
    neck = head(dict.fromkeys(range(4), SURE), slices=36)
    side = head(dict.fromkeys(range(4), SURE), plane="sagittal")
    assert [judge([one]).decision for one in (weak, neck, side)] == ["no_tumor"] * 3


@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_a_head_is_judged_alike_wherever_it_lies_in_the_scanner(plane: str) -> None:
    for marked in (range(0), range(20, 23), range(24, 28)):
        about, results = head(dict.fromkeys(marked, SURE), plane=plane)
        away = [dataclasses.replace(about, positions_mm=shifted(about, by)) for by in (-800, -50, 600)]
        assert [judge([(one, results)]) for one in away] == [judge([(about, results)])] * 3


def shifted(series: Series, by: float) -> tuple[float, ...]:
    return tuple(mm + by for mm in series.positions_mm or ())


def test_a_part_of_a_head_has_no_ends() -> None:
    verdict = judge([head(dict.fromkeys((1, 2, 3), SURE), slices=4)])
    assert (verdict.decision, verdict.carriers, verdict.complete) == ("tumor", (1, 2, 3), False)


def test_a_model_that_clears_no_slices_clears_no_head() -> None:
    unsure = {i: answer("ambiguous", 0.16, (i % 13, i % 7)) for i in range(28)}
    verdict = judge([head(unsure)])
    assert (verdict.decision, verdict.complete) == ("ambiguous", True)
    assert verdict.reason == (
        "No finding, but the model cleared only 0.0 % of the middle slices of a series."
    )
    # A quarter of 19 is enough.
    assert judge([head({i: one for i, one in unsure.items() if i >= 10})]).decision == "no_tumor"


def test_the_label_is_that_of_more_than_half_of_the_carriers() -> None:
    other = answer("meningioma", 0.99, label="meningioma")
    three = judge([head({10: SURE, 11: SURE, 12: other})])
    assert three.label == "glioma"
    assert three.confidence == pytest.approx(0.99)
    assert judge([head({10: SURE, 11: SURE, 12: other, 13: other})]).label is None


def test_thin_slices_count_by_their_length() -> None:
    thin = dict.fromkeys(range(99, 114), SURE)
    verdict = judge([head(thin, slices=150, step=1.0)])
    assert (verdict.decision, verdict.carriers) == ("tumor", tuple(range(99, 114)))
    assert verdict.strength_mm == pytest.approx(0.9 * 15, abs=1)
    assert judge([head(dict.fromkeys(range(100, 103), SURE), slices=140, step=1.0)]).decision != "tumor"


def test_series_of_one_head_confirm_and_contradict_each_other() -> None:
    from falx.reading.tags import Geometry

    def placed(changes: Mapping[int, Answer], sequence: str) -> tuple[Series, tuple[Answer, ...]]:
        series, results = head(changes, sequence=sequence)
        layout = tuple(
            Geometry((0, 0, 1), mm, (0, 0, mm), (224, 0, 0), (0, 224, 0)) for mm in series.positions_mm or ()
        )
        return dataclasses.replace(series, layout=layout), results

    half = dict.fromkeys((10, 11), answer("glioma", 0.6))
    flair, t1, contrast = (placed(half, sequence) for sequence in ("FLAIR", "T1", "T1C+"))
    assert told(flair) == ("ambiguous", 6)
    assert told(flair, t1) == ("tumor", 12)
    assert judge([flair, t1]).carriers == (10, 11, 38, 39)
    clear = placed({}, "T2")
    assert told(flair, clear)[1] == 3
    assert told(contrast, clear)[1] == told(contrast, placed({}, "T1C+"))[1] == 6
    # The same series sent twice confirms nothing, and one of another visit says nothing.
    elsewhere = dataclasses.replace(t1[0], frame_of_reference="1.2"), t1[1]
    assert told(flair, flair)[1] == told(flair, elsewhere)[1] == 6
    # A strong finding stands however many series do not show it.
    strong = placed(dict.fromkeys(range(10, 15), SURE), "FLAIR")
    assert told(strong, clear, placed({}, "T1"))[0] == "tumor"


def test_pictures_in_order_are_neighbours() -> None:
    assert judge([unordered(CLEAN, SURE, SURE, SURE)]).carriers == (1, 2, 3)
    assert judge([unordered(SURE, CLEAN, SURE)]).decision == "ambiguous"
    assert judge([unordered(*[CLEAN] * LEAST_SLICES)]).decision == "no_tumor"
    assert judge([unordered(*[CLEAN] * (LEAST_SLICES - 1))]).decision == "ambiguous"


def test_a_rejected_slice_between_two_others_makes_neither_of_them_thicker() -> None:
    assert judge([unordered(SURE, CLEAN)]).strength_mm == pytest.approx(4.5)
    assert judge([unordered(SURE, REJECTED, CLEAN)]).strength_mm == pytest.approx(4.5)
    assert judge([unordered(SURE, REJECTED, SURE)]).strength_mm == pytest.approx(13.5)
    every_other = dict.fromkeys(range(1, 28, 2), REJECTED)
    assert judge([head({**every_other, 10: SURE})]).strength_mm == pytest.approx(4.5)


def test_rejected_slices_do_not_make_a_study_clean() -> None:
    assert judge([unordered(*[REJECTED] * 40)]).decision == "rejected"
    mostly = judge([unordered(*[REJECTED] * 40, *[CLEAN] * (LEAST_SLICES - 1))])
    assert (mostly.decision, mostly.complete, mostly.carriers) == ("ambiguous", False, ())
    assert mostly.reason == (
        "No finding, but the slices do not show a whole head. "
        "11 slices could be classified, and a whole head takes 12."
    )


def test_rejected_slices_above_and_below_the_head_do_no_harm_but_a_hole_does() -> None:
    ends = head({0: REJECTED, 1: REJECTED, 27: REJECTED})
    assert judge([ends]).decision == "no_tumor"
    hole = head({10: REJECTED, 11: REJECTED})
    assert judge([hole]).decision == "ambiguous"
    assert gaps(*hole) == ("Between two of them 15 mm are not shown.",)
    assert gaps(*unordered(CLEAN, REJECTED, *[CLEAN] * 12)) == ("1 slice between others rejected.",)


def test_face_and_neck_need_not_be_shown_whole() -> None:
    # 40 slices from 195 mm below the top: what is taken for a brain in the neck is far from the brain.
    neck = dict.fromkeys((0, *range(2, 12)), REJECTED)
    assert judge([head(neck, slices=40)]).decision == "no_tumor"
    assert gaps(*head(neck | dict.fromkeys(range(12, 15), REJECTED), slices=40)) == ()
    above = dict.fromkeys(range(12, 18), REJECTED)
    assert gaps(*head(above, slices=40)) == ("Between two of them 35 mm are not shown.",)


def test_a_part_of_a_head_is_not_clear() -> None:
    slab = head(slices=90, step=1.0)
    assert judge([slab]).decision == "ambiguous"
    assert gaps(*slab) == (f"They span 89 mm, and a whole head takes {LEAST_EXTENT_MM:g} mm.",)
    assert judge([head(slices=13, step=GREATEST_GAP_MM + 0.5)]).decision == "ambiguous"
    # Beside a whole head that is clean, a part that is clean changes nothing.
    assert judge([head(), slab]).decision == "no_tumor"


def test_what_could_not_be_read_is_not_clear_but_hides_no_tumour() -> None:
    verdict = judge([head(), head({3: FAILURE})])
    assert (verdict.decision, verdict.complete) == ("ambiguous", False)
    assert verdict.counts == {"no_tumor": 55, "error": 1}
    assert verdict.reason == "1 slice could not be read, and the others show no tumour."
    hidden: dict[int, Answer] = {3: FAILURE, 10: SURE, 11: SURE, 12: SURE}
    assert judge([head(hidden)]).decision == "tumor"


@pytest.mark.parametrize(
    ("results", "unused", "decision", "reason"),
    [
        # Nothing could be read: that is no rejection.
        ([FAILURE, FAILURE], [], "ambiguous", "None of the 2 files could be read."),
        ([REJECTED, FAILURE], [], "ambiguous", "No slice could be classified (1 blank, 1 unread)."),
        # There was no diagnostic image.
        ([], [], "rejected", "No slice could be classified: there is none."),
        ([], [SCOUT], "rejected", "No slice could be classified (9 localizer)."),
    ],
)
def test_a_study_without_a_slice_that_was_classified(
    results: list[Answer], unused: list[NotUsed], decision: str, reason: str
) -> None:
    verdict = judge([unordered(*results)] if results else [], unused)
    assert (verdict.decision, verdict.reason) == (decision, reason)


@given(st.lists(st.sampled_from([CLEAN, DOUBT, REJECTED, FAILURE, SURE]), min_size=1, max_size=40))
def test_further_clean_slices_change_no_tumour_and_clear_none(results: list[Answer]) -> None:
    before = judge([unordered(*results)])
    after = judge([unordered(*results, *[CLEAN] * 40)])
    assert (before.decision == "tumor") == (after.decision == "tumor")
    if SURE in results or FAILURE in results:
        assert after.decision in ("tumor", "ambiguous")


def test_a_study_as_json() -> None:
    first, results = head(dict.fromkeys((10, 11, 12), SURE), sequence="FLAIR")
    first = dataclasses.replace(first, uid="1.2.3", notes=("Cut.",))
    second, more = unordered(CLEAN, DOUBT)
    scout = NotUsed("1.2.4", 3, reason_of("localizer", "It is."))
    found = Gathering((first, second), (scout,), "1.2", "exam", ("Two.",))
    study = sum_up(found, [*results, *more], elapsed_ms=12.345)
    document = json.loads(json.dumps(study.to_dict()))
    slices, series = document.pop("slices"), document.pop("series")
    assert document == {
        "schema": 1,
        "path": "exam",
        "study_instance_uid": "1.2",
        "decision": "tumor",
        "label": "glioma",
        "confidence": pytest.approx(0.9),
        "band": "high",
        "strength_mm": 13.5,
        "reason": "A region is marked through slices 11 to 13 of 28 in series 1 (axial FLAIR) with a "
        "strength of 13.5 mm, most surely in slice 11 of 28 in series 1 (axial FLAIR): a tumour, 90.0 %, "
        "likeliest a glioma.",
        "complete": True,
        "carriers": [10, 11, 12],
        "counts": {"no_tumor": 26, "glioma": 3, "ambiguous": 1},
        "recommendation": module.RECOMMENDATIONS["tumor"],
        "thresholds": DEFAULT_THRESHOLDS.to_dict(),
        "thresholds_changed": [],
        "notes": ["Two."],
        "not_used": [
            {
                "series_instance_uid": "1.2.4",
                "slices": 3,
                "code": "localizer",
                "message": "The DICOM image is a localizer, not a slice of a series. It is.",
            }
        ],
        "model": MODEL.to_dict(),
        "elapsed_ms": 12.35,
    }
    assert slices == [result.to_dict() for result in study.results]
    assert [(one["decision"], one["slices"], one["carriers"]) for one in series] == [
        ("tumor", [0, 28], [10, 11, 12]),
        ("ambiguous", [28, 30], []),
    ]
    assert (series[0]["plane"], series[0]["sequence"], series[0]["notes"]) == ("axial", "FLAIR", ["Cut."])
    assert series[0]["positions_mm"][:3] == [0, 5, 10]
    assert series[1]["positions_mm"] is None
    documented = module.__doc__ or ""
    assert all(f"`{key}`" in documented for key in (*study.to_dict(), *series[0]))
    assert study.series[0].about.sources == ()


def test_positions_must_fit() -> None:
    with pytest.raises(ValueError, match=r"as many sources as positions and places, got \[1, 2\]"):
        Series(sources=(b"", b""), positions_mm=(0.0,))
    with pytest.raises(ValueError, match="positions that rise"):
        Series(sources=(b"", b""), positions_mm=(1.0, 0.0))


def test_marks_are_where_the_heatmap_is() -> None:
    from falx.finding import GRID, find

    series, results = head({10: SURE, 11: SURE})
    strength = find(series, results).strength
    rows, columns = np.nonzero(strength[10] > 5)
    # Cell 7 of 14, and a spot on each side.
    assert (rows.min(), rows.max()) == (GRID // 2 - 1, GRID // 2 + 2)
    assert (columns.min(), columns.max()) == (GRID // 2 - 1, GRID // 2 + 2)
