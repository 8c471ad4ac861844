from __future__ import annotations

from tests.reading.dicom import mutated

import falx


def test_a_damaged_file_ends_in_an_answer_or_a_clear_error(classifier: falx.Classifier) -> None:
    outcomes = mutated.run(classifier, 60)
    assert sum(outcomes.values()) == 60
    assert outcomes["UnreadableImage"] > 10
    assert outcomes["prediction"] > 0
