from __future__ import annotations

import json
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score

from falx.decision import Thresholds
from falx.words import LABELS
from falx_runs.manifest import UNTYPED
from falx_trainer import scores as scoring


@pytest.fixture(scope="module")
def answers() -> tuple[list[str], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    labels = [(*LABELS, UNTYPED)[index] for index in rng.integers(0, 5, 200)]
    probabilities = rng.dirichlet(np.ones(4), 200)
    for row, label in zip(probabilities, labels, strict=True):
        if label in LABELS and rng.random() < 0.5:
            row *= 0.3
            row[LABELS.index(label)] += 0.7
    return labels, probabilities


def test_measures_are_shares_of_what_they_name() -> None:
    labels = ["no_tumor", "no_tumor", "glioma", "glioma", "tumor_untyped"]
    box, none = np.array([[0, 0, 40, 40]], np.float32), np.zeros((0, 4), np.float32)
    boxes = [none, none, box, box, none]
    probabilities = np.array(
        [[0.9, 0.1, 0, 0], [0.4, 0.6, 0, 0], [0.1, 0, 0.9, 0], [0.2, 0.7, 0.1, 0], [0.95, 0, 0, 0.05]]
    )
    evidence = np.zeros((5, 14, 14), np.float32)
    evidence[2, 1, 1] = evidence[3, 8, 8] = 1  # inside the box, and elsewhere
    thresholds = Thresholds(no_tumor=0.8, meningioma=0.5, glioma=0.5, pituitary=0.5)
    measured = scoring.measure(labels, boxes, probabilities, evidence.reshape(5, 196), thresholds)
    assert measured == {
        "auc": 0.6667,  # of 6 pairs, the untyped tumour is behind both healthy slices
        "missed": 0.3333,
        "cleared": 0.5,
        "peak_in_box": 0.5,
    }
    assert scoring.measure(labels, boxes, probabilities, None, thresholds) == measured | {"peak_in_box": None}


def test_scores_are_those_of_scikit_learn(answers: tuple[list[str], npt.NDArray[np.float64]]) -> None:
    labels, probabilities = answers
    scores = scoring.score(labels, probabilities)
    typed = [index for index, label in enumerate(labels) if label != UNTYPED]
    true = np.array([LABELS.index(labels[index]) for index in typed])
    predicted = probabilities[typed].argmax(axis=1)
    assert scores["slices"] == len(typed)
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    assert scores["confusion"] == confusion_matrix(true, predicted).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(true, predicted)
    for index, label in enumerate(LABELS):
        row = scores["report"][label]
        assert row["precision"] == pytest.approx(precision[index])
        assert row["recall"] == pytest.approx(recall[index])
        assert row["f1-score"] == pytest.approx(f1[index])
        assert row["support"] == support[index]
        area = roc_auc_score(true == index, probabilities[typed, index])
        assert scores["auc_roc"][label] == pytest.approx(area)
    macro = roc_auc_score(true, probabilities[typed], multi_class="ovr", average="macro")
    assert scores["auc_roc"]["macro"] == pytest.approx(macro)
    assert json.loads(json.dumps(scores)) == scores


def test_report_is_a_table(answers: tuple[list[str], npt.NDArray[np.float64]]) -> None:
    scores = scoring.score(*answers)
    lines = scoring.report_text(scores).splitlines()
    assert lines[0].split() == ["precision", "recall", "F1", "AUC-ROC", "slices"]
    assert [line.split()[0] for line in lines[1:5]] == list(LABELS)
    assert lines[1].split()[1] == f"{scores['report']['no_tumor']['precision']:.3f}"
    assert lines[1].split()[4] == f"{scores['auc_roc']['no_tumor']:.3f}"
    assert lines[5] == f"accuracy {scores['accuracy']:.3f} over {scores['slices']} typed slices"


def test_labels_that_do_not_occur_have_no_area() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = scoring.score(["no_tumor", "glioma"], np.array([[0.9, 0.1, 0, 0], [0.2, 0.1, 0.6, 0.1]]))
    assert scores["auc_roc"] == {
        "no_tumor": 1.0,
        "meningioma": None,
        "glioma": 1.0,
        "pituitary": None,
        "macro": None,
    }
    assert scores["accuracy"] == 1.0
    assert scoring.report_text(scores).splitlines()[2].split() == [
        "meningioma",
        "0.000",
        "0.000",
        "0.000",
        "-",
        "0",
    ]


def test_confusion_text_lines_up() -> None:
    text = scoring.confusion_text(["no_tumor", "glioma"], ["no_tumor", "ambiguous"], [[3, 0], [10, 200]])
    lines = text.splitlines()
    assert lines[0].split() == ["true", "/", "predicted", "no_tumor", "ambiguous"]
    assert [line.split() for line in lines[1:]] == [["no_tumor", "3", "0"], ["glioma", "10", "200"]]
    assert len({len(line) for line in lines}) == 1
