from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight
from tests.trainer.conftest import DrawHead, Pixels
from tests.trainer.still import still

from falx.slices.preprocessing import prepare
from falx_runs.manifest import UNTYPED, Record
from falx_trainer.data.tensors import Tensors
from falx_trainer.training.network import BRAIN, NO_BRAIN, OTHER
from falx_trainer.training.recipe import PRESETS, Recipe
from falx_trainer.training.sampling import LABEL_SHARES, Sampler, evidence_target, pack

NO_BOXES = np.zeros((0, 4), np.float32)
LESION = np.array([[90, 80, 130, 120]], np.float32)


def tensors_of(labels: list[str], sources: list[str], pixels: Pixels, boxed: bool = True) -> Tensors:
    records = [
        Record(Path(f"{index}.png"), label, source)
        for index, (label, source) in enumerate(zip(labels, sources, strict=True))
    ]
    boxes = [LESION if boxed and label != "no_tumor" else NO_BOXES for label in labels]
    return Tensors(records, pixels, boxes, np.full((len(labels), 2), 224), (), "")


@pytest.fixture(scope="module")
def heads(head: DrawHead) -> Pixels:
    """10 tensors, the last 5 of them with a white disc in (90, 80) .. (130, 120)."""
    pixels = np.stack([prepare(head(seed)[0])[0] for seed in range(10)])
    y, x = np.mgrid[:224, :224] + 0.5
    pixels[5:, np.hypot(x - 110, y - 100) < 20] = 255
    return pixels


LABELS = ["no_tumor"] * 5 + ["glioma", "glioma", "meningioma", "pituitary", UNTYPED]


@pytest.fixture(scope="module")
def drawn(heads: Pixels) -> Tensors:
    return tensors_of(LABELS, ["a", "b"] * 5, heads)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [160, 224])
def test_same_seed_same_example(preset: str, size: int, drawn: Tensors) -> None:
    first, second = (Sampler(drawn, PRESETS[preset]) for _ in range(2))
    assert first.order(1, 3).tolist() == second.order(1, 3).tolist() != first.order(1, 4).tolist()
    assert first.order(1, 3).tolist() != first.order(2, 3).tolist()
    for sampler in (first, second):
        sampler.prepare(size)
    for index in range(10):
        one, same, other = (
            sampler.example(index, np.random.default_rng(seed), size)
            for sampler, seed in ((first, 1), (second, 1), (second, 2))
        )
        assert one.pixels.shape == (size, size)
        assert one.pixels.dtype == np.uint8
        assert one.evidence.shape == one.known.shape == (size // 16, size // 16)
        for value, again in zip(one, same, strict=True):
            np.testing.assert_array_equal(value, again)
        assert (one.pixels != other.pixels).any()


def test_a_smaller_image_is_the_same_image(drawn: Tensors) -> None:
    sampler = Sampler(drawn, still("classic"))
    sampler.prepare(160)
    small = sampler.example(5, np.random.default_rng(1), 160)
    large = np.asarray(Image.fromarray(small.pixels).resize((224, 224), Image.Resampling.BILINEAR))
    assert np.abs(large.astype(int) - drawn.pixels[5]).mean() < 4
    # The disc at (90, 80) .. (130, 120) of 224 lies at (64, 57) .. (93, 86) of 160.
    assert np.argwhere(small.evidence).tolist() == [[3, 4], [3, 5], [4, 4], [4, 5], [5, 4]]


def test_class_weights_are_those_of_scikit_learn(heads: Pixels) -> None:
    labels, classes = ["no_tumor"] * 6 + ["glioma"] * 3 + ["pituitary"], ["glioma", "no_tumor", "pituitary"]
    sampler = Sampler(tensors_of(labels, ["a"] * 10, heads), Recipe())
    weights = compute_class_weight("balanced", classes=np.array(classes), y=labels)
    np.testing.assert_allclose(weights, [10 / 9, 10 / 18, 10 / 3])
    expected = [weights[classes.index(label)] for label in labels]
    assert [sampler.weight(index) for index in range(10)] == pytest.approx(expected)
    # Every image once an epoch.
    assert sorted(sampler.order(2, 0).tolist()) == list(range(10))
    assert sampler.order(2, 0).tolist() != sampler.order(2, 1).tolist()


def test_sources_shares() -> None:
    sizes = {
        ("no_tumor", "a"): 400,
        ("no_tumor", "b"): 100,
        ("glioma", "a"): 225,
        ("glioma", "c"): 25,
        ("meningioma", "a"): 50,
        ("pituitary", "c"): 100,
        (UNTYPED, "b"): 100,
    }
    pairs = list(Counter(sizes).elements())
    blank = np.broadcast_to(np.zeros((1, 224, 224), np.uint8), (1000, 224, 224))
    data = tensors_of([label for label, _ in pairs], [source for _, source in pairs], blank)
    sampler = Sampler(data, PRESETS["default"])
    epochs = [sampler.order(2, epoch) for epoch in range(20)]
    assert all(len(order) == 1000 for order in epochs)
    counts = Counter(pairs[index] for order in epochs for index in order)
    drawn = {label: sum(counts[pair] for pair in sizes if pair[0] == label) for label in LABEL_SHARES}
    assert {label: count / 20_000 for label, count in drawn.items()} == pytest.approx(LABEL_SHARES, abs=0.002)
    # Within a label by the square root of a collection's size: 20 to 10, and 15 to 5.
    assert counts["no_tumor", "a"] / counts["no_tumor", "b"] == pytest.approx(2, rel=0.02)
    assert counts["glioma", "a"] / counts["glioma", "c"] == pytest.approx(3, rel=0.03)
    # Systematic: in one epoch each image floor(n p) or that plus one times.
    once = Counter(epochs[0].tolist())
    expected = 1000 * 0.40 * (20 / 30) / 400
    assert {once[index] for index in range(400)} <= {math.floor(expected), math.floor(expected) + 1}
    assert all(sampler.weight(index) == 1 for index in range(0, 1000, 99))


def test_within_a_collection_each_level_of_each_sequence_is_heard(heads: Pixels) -> None:
    cells = {("T1", "upper"): 64, ("T1", "base"): 16, ("T2", "base"): 4, ("", ""): 36}
    pairs = list(Counter(cells).elements())
    records = [
        Record(Path(f"{number}.png"), "no_tumor", "a", sequence=sequence, level=level)
        for number, (sequence, level) in enumerate(pairs)
    ]
    pixels = np.broadcast_to(heads[:1], (120, 224, 224))
    data = Tensors(records, pixels, [NO_BOXES] * 120, np.full((120, 2), 224), (), "")
    sampler = Sampler(data, PRESETS["default"])
    counts = Counter(pairs[index] for view in range(100) for index in sampler.order(2, view))
    for cell, count in cells.items():
        assert counts[cell] / 12_000 == pytest.approx(count**0.5 / (8 + 4 + 2 + 6), rel=0.02)


def test_shots_of_one_group_are_heard_as_their_square_root(heads: Pixels) -> None:
    groups = ["one"] * 9 + ["other"] + ["third"] * 4
    records = [Record(Path(f"{number}.png"), "glioma", "a", group) for number, group in enumerate(groups)]
    pixels = np.broadcast_to(heads[:1], (14, 224, 224))
    data = Tensors(records, pixels, [NO_BOXES] * 14, np.full((14, 2), 224), (), "")
    sampler = Sampler(data, PRESETS["default"])
    counts = Counter(groups[index] for view in range(300) for index in sampler.order(2, view))
    assert {group: count / 4200 for group, count in counts.items()} == pytest.approx(
        {"one": 3 / 6, "other": 1 / 6, "third": 2 / 6}, rel=0.03
    )


def test_shares_of_labels_that_are_there_add_up(heads: Pixels) -> None:
    labels = ["no_tumor"] * 2 + ["glioma"] * 8
    sampler = Sampler(tensors_of(labels, [""] * 10, heads), PRESETS["default"])
    healthy = np.mean([(sampler.order(1, epoch) < 2).mean() for epoch in range(200)])
    assert healthy == pytest.approx(0.40 / 0.60, abs=0.01)


def cells(*places: tuple[int, int]) -> npt.NDArray[np.float32]:
    grid = np.zeros((14, 14), np.float32)
    for row, column in places:
        grid[row, column] = 1
    return grid


@pytest.mark.parametrize(
    ("boxes", "positive", "unknown"),
    [
        # The whole of one cell, and of 2 x 2.
        ([[16, 32, 32, 48]], [(2, 1)], []),
        ([[16, 32, 48, 64]], [(2, 1), (2, 2), (3, 1), (3, 2)], []),
        # One cell whole, its right neighbour by a quarter: too little to be judged.
        ([[16, 32, 36, 48]], [(2, 1)], [(2, 2)]),
        # By half: enough.
        ([[16, 32, 40, 48]], [(2, 1), (2, 2)], []),
        # A small tumour covers 4 x 4 of 16 x 16 pixels, 6 %: the cell is its own.
        ([[18, 34, 22, 38]], [(2, 1)], []),
        # A small one on a corner, evenly: four cells.
        ([[30, 30, 34, 34]], [(1, 1), (1, 2), (2, 1), (2, 2)], []),
        # Two tumours.
        ([[0, 0, 16, 16], [208, 208, 224, 224]], [(0, 0), (13, 13)], []),
        # Beyond the edge: what is inside counts.
        ([[-40, 0, 16, 16]], [(0, 0)], []),
        # Out of view: nothing to see anywhere.
        ([[224, 0, 224, 32]], [], []),
    ],
)
def test_evidence_of_boxes(
    boxes: list[list[float]], positive: list[tuple[int, int]], unknown: list[tuple[int, int]]
) -> None:
    target, known = evidence_target("glioma", np.array(boxes, np.float32))
    np.testing.assert_array_equal(target, cells(*positive))
    np.testing.assert_array_equal(known, 1 - cells(*unknown))
    assert target.dtype == known.dtype == np.float32


@pytest.mark.parametrize(("label", "weight"), [("no_tumor", 1), ("glioma", 0), (UNTYPED, 0)])
def test_evidence_without_boxes(label: str, weight: float) -> None:
    target, known = evidence_target(label, NO_BOXES)
    assert target.sum() == 0
    assert (known == weight).all()


def share_of(
    sampler: Sampler, index: int, tries: int = 300
) -> tuple[list[Pixels], list[tuple[float, ...]], float]:
    """Images and targets of one image, and the share of them in which anything is another's."""
    made = [sampler.example(index, np.random.default_rng(seed)) for seed in range(tries)]
    images, targets = [one.pixels for one in made], [tuple(one.target.tolist()) for one in made]
    changed = [bool((pixels != sampler.data.pixels[index]).any()) for pixels in images]
    return images, targets, float(np.mean(changed))


def test_nothing_is_made_up_in_classic(drawn: Tensors) -> None:
    sampler = Sampler(drawn, still("classic"))
    for index, label in enumerate(LABELS):
        pixels, target, evidence, known, judged, shown = sampler.example(index, np.random.default_rng(1))
        assert (judged, shown) == (1, BRAIN)
        np.testing.assert_array_equal(pixels, drawn.pixels[index])
        expected = evidence_target(label, drawn.boxes[index])
        np.testing.assert_array_equal(evidence, expected[0])
        np.testing.assert_array_equal(known, expected[1])
        assert target.sum() == (3 if label == UNTYPED else 1)


def test_a_healthy_slice_with_a_transplant_has_a_tumor_of_unknown_type(drawn: Tensors) -> None:
    sampler = Sampler(drawn, still(transplant=0.5))
    images, targets, share = share_of(sampler, 0)
    assert 0.2 < share <= 0.55
    for pixels, target in zip(images, targets, strict=True):
        changed = bool((pixels != drawn.pixels[0]).any())
        assert target == ((0, 1, 1, 1) if changed else (1, 0, 0, 0))
    # A slice with a tumour gets none.
    assert share_of(sampler, 5, 50)[2] == 0


def test_control_tissue_changes_no_target_and_no_tumor(drawn: Tensors) -> None:
    sampler = Sampler(drawn, still(control=0.5))
    for index, expected in ((0, (1, 0, 0, 0)), (5, (0, 0, 1, 0)), (9, (0, 1, 1, 1))):
        images, targets, share = share_of(sampler, index, 150)
        assert 0.05 < share <= 0.65
        assert set(targets) == {expected}
        if index >= 5:
            for pixels in images:
                # The outer half of the soft rim may reach into the corner of a tumour's box.
                changed = pixels[80:120, 90:130] != drawn.pixels[index][80:120, 90:130]
                assert changed.mean() < 0.15


def test_donors_show_something(drawn: Tensors, heads: Pixels) -> None:
    sampler = Sampler(drawn, PRESETS["default"])
    # The last head is nearly as bright as the disc in it.
    assert [index for index, _ in sampler.donors.lesions] == [5, 6, 7, 8]
    assert sampler.donors.lesions[0][1].tolist() == LESION[0].tolist()
    assert sampler.donors.tissue.tolist() == list(range(10))
    # A box with nothing in it to see, and a tumour that may be anywhere.
    even = np.full((1, 224, 224), 120, np.uint8)
    assert Sampler(tensors_of(["glioma"], [""], even), Recipe()).donors.lesions == []
    assert Sampler(tensors_of(["glioma"], [""], heads[5:6], boxed=False), Recipe()).donors.tissue.size == 0


def test_half_of_the_moved_lesions_come_from_the_same_sequence(drawn: Tensors) -> None:
    sequences = ["T2", "T1", "FLAIR", "", "", "T2", "T1", "T1", "T1", ""]
    records = [
        dataclasses.replace(record, sequence=sequence)
        for record, sequence in zip(drawn.records, sequences, strict=True)
    ]
    sampler = Sampler(dataclasses.replace(drawn, records=records), PRESETS["default"])
    rng = np.random.default_rng(3)

    def share(sequence: str, donor: int) -> float:
        return sum(sampler.lesion(sequence, rng)[0] == donor for _ in range(2000)) / 2000

    # Of four lesions one is on T2, and three on T1; there is none on FLAIR.
    assert share("T2", 5) == pytest.approx(0.5 + 0.5 / 4, abs=0.05)
    assert share("T1", 6) == pytest.approx(0.5 / 3 + 0.5 / 4, abs=0.05)
    for sequence in ("FLAIR", ""):
        assert share(sequence, 5) == pytest.approx(1 / 4, abs=0.05)


def test_lesions_are_turned_over_as_often_as_wanted(drawn: Tensors) -> None:
    def level(inverted: float) -> float:
        recipe = still(transplant=1.0).override({"counterfactual.inverted": inverted})
        images, _, _ = share_of(Sampler(drawn, recipe), 0, 80)
        differences = [image.astype(int) - drawn.pixels[0] for image in images]
        return float(np.mean([one[one != 0].mean() for one in differences if one.any()]))

    # The donors' discs are white: brighter than what they land on; turned over, darker.
    assert level(0.0) > 20
    assert level(1.0) < -20


def test_outliers_have_no_label_and_no_place(drawn: Tensors) -> None:
    sampler = Sampler(drawn, PRESETS["default"].override({"drawn_outliers": 0.3}))
    examples = [sampler.example(6, np.random.default_rng(seed)) for seed in range(300)]
    assert {example.shown for example in examples} == {BRAIN, OTHER}
    assert sum(example.shown == OTHER for example in examples) / 300 == pytest.approx(0.3, abs=0.08)
    for example in examples:
        if example.shown == OTHER:
            # Every label is allowed: the loss of the labels is 0 whatever the answer.
            assert example.target.tolist() == [1, 1, 1, 1]
            assert example.known.sum() == example.judged == 0
        else:
            assert example.target.tolist() == [0, 0, 1, 0]


def test_real_outliers_are_shown_by_kind(drawn: Tensors, heads: Pixels) -> None:
    kinds = ["head_end"] * 4 + ["photo"]
    pictures = tensors_of(
        kinds, [""] * 5, np.stack([*heads[:4], np.full((224, 224), 77, np.uint8)]), boxed=False
    )
    sampler = Sampler(drawn, still(real_outliers=0.9), pictures)
    examples = [sampler.example(6, np.random.default_rng(seed), 224) for seed in range(600)]
    shares = [sum(example.shown == shown for example in examples) / 600 for shown in (BRAIN, NO_BRAIN, OTHER)]
    # 0.9 of all, and of these by the square root of a kind's size: 2 to 1.
    assert shares == pytest.approx([0.1, 0.6, 0.3], abs=0.06)
    for example in examples:
        if example.shown == OTHER:
            assert set(np.unique(example.pixels)) <= {77, 255 - 77}
            assert (example.target.tolist(), example.judged, example.known.sum()) == ([1, 1, 1, 1], 0, 0)
        elif example.shown == NO_BRAIN:
            # Not a slice of a brain, but at least not a tumour.
            assert (example.target.tolist(), example.judged) == ([1, 0, 0, 0], 1)
            assert example.known.all()
            assert not example.evidence.any()


def blind(heads: Pixels, sequence: str, showing: int) -> Tensors:
    """Four tumours with a box, of which so many show, one without, and three clean slices."""
    even = np.full((224, 224), 120, np.uint8)
    pixels = np.stack([heads[5 + i] if i < showing else even for i in range(4)] + [even] * 4)
    records = [
        Record(Path(f"{i}.png"), "glioma" if i < 5 else "no_tumor", "scans", f"p{i}", "train", sequence)
        for i in range(8)
    ]
    boxes = [LESION if i < 4 else NO_BOXES for i in range(8)]
    return Tensors(records, pixels, boxes, np.full((8, 2), 224), (), "")


@pytest.mark.parametrize(
    ("sequence", "showing", "setting", "doubtful"),
    [
        ("T1", 1, "doubt", range(1, 8)),
        ("T1", 0, "doubt", range(8)),
        ("T1", 2, "doubt", ()),  # half of them show
        ("", 1, "doubt", ()),  # nothing is known of the sequence
        ("T1", 1, "keep", ()),
    ],
)
def test_slices_of_a_blind_sequence_are_either(
    sequence: str, showing: int, setting: str, doubtful: Sequence[int], heads: Pixels
) -> None:
    sampler = Sampler(blind(heads, sequence, showing), still(blind=setting))
    for index in range(8):
        own = (0.0, 0.0, 1.0, 0.0) if index < 5 else (1.0, 0.0, 0.0, 0.0)
        other = (1.0, 0.0, 0.0, 0.0) if index < 5 else (0.0, 1.0, 1.0, 1.0)
        examples = [sampler.example(index, np.random.default_rng(seed)) for seed in range(200)]
        found = [tuple(example.target.tolist()) for example in examples]
        if index in doubtful:
            assert set(found) == {own, other}
            share = 0.75 if index < 5 else 0.25
            assert found.count(own) / 200 == pytest.approx(share, abs=0.1)
            assert all(example.known.sum() == 0 for example in examples)
        else:
            assert set(found) == {own}


def test_targets_are_packed_by_output(drawn: Tensors) -> None:
    recipe = still()
    sampler = Sampler(drawn, recipe)
    examples = [sampler.example(index, np.random.default_rng(1)) for index in (0, 5, 9)]
    examples[2] = examples[2]._replace(judged=0.0, shown=OTHER)
    weights = np.array([1, 2, 3], np.float32)
    targets, shares = pack(examples, weights, recipe)
    assert targets.keys() == shares.keys() == {"logits", "evidence", "place", "seen", "familiarity"}
    assert targets["logits"].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 1]]
    np.testing.assert_array_equal(targets["evidence"][1], examples[1].evidence.ravel())
    np.testing.assert_array_equal(targets["place"][1], targets["evidence"][1])
    assert (targets["place"][0] == 1).all()
    assert (targets["seen"].tolist(), shares["seen"].tolist()) == ([[0], [1], [1]], [1, 1, 0])
    assert targets["familiarity"].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(shares["evidence"], [example.known.ravel() for example in examples])
    assert shares["logits"].tolist() == [1, 2, 3]
    assert (shares["place"] == 1).all()
    assert (shares["familiarity"] == 1).all()
    assert pack(examples, weights, Recipe())[0].keys() == {"logits"}
