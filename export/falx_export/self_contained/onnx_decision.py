"""The two-step decision as a graph: `falx.decision`, with the thresholds as a constant of that name."""

from __future__ import annotations

from typing import Final

import numpy as np

from falx.decision import Thresholds
from falx.model.retarget import least_float32
from falx.words import AMBIGUOUS, DECISIONS, LABELS, NO_TUMOR, REJECTED
from falx_export.self_contained.onnx_builder import Graph, Tensor
from falx_export.self_contained.onnx_rejection import NONE

THRESHOLDS: Final = "thresholds"
"""The constant of the thresholds, float32 `(4,)`, in the order of the labels. `falx retarget` knows it by its
values, which stand nowhere else in the graph."""


def decide(g: Graph, answered: Tensor, reason: Tensor, thresholds: Thresholds) -> dict[str, Tensor]:
    """Returns the decision and what belongs to it; see `falx_export.self_contained.onnx_file` for the
    outputs.

    The model's probabilities are float32 `(1, 4)`; the reason is as of
    `falx_export.self_contained.onnx_rejection`.
    """
    least = g.constant(THRESHOLDS, least_float32(thresholds.to_dict().values()), np.float32)
    with g.scope("decision"):
        probabilities = g.named("probabilities", g.node("Reshape", answered, g.integers(len(LABELS))))
        reached = g.named("reached", probabilities >= least)
        tumors = g.slice(probabilities, [1], [len(LABELS)])
        tumor = g.node("ArgMax", tumors, dtype=np.int64, axis=0, keepdims=0, select_last_index=0) + 1
        tumor = g.named("tumor", tumor)
        which = g.named("which", g.where(g.gather(reached, tumor), tumor, DECISIONS.index(AMBIGUOUS)))
        healthy = g.scalar(DECISIONS.index(NO_TUMOR), np.int64)
        decided = g.named("decided", g.where(g.gather(reached, healthy), healthy, which))
        rejected = g.named("rejected", ~reason.equals(NONE))
        refused = g.scalar(DECISIONS.index(REJECTED), np.int64)
        index = g.named("index", g.where(rejected, refused, decided))
        none = g.constant("no_probabilities", np.zeros(len(LABELS)), np.float32)
        answer = g.named("answer", g.where(rejected, none, probabilities))
        # What is decided but is no label has the confidence 0.
        others = g.constant("no_confidence", np.zeros(len(DECISIONS) - len(LABELS)), np.float32)
        confidences = g.named("confidences", g.node("Concat", answer, others, axis=0))
        words = g.constant("decision_labels", DECISIONS, str)
    return {
        "decision": g.output("decision", index.to(np.int32)),
        "decision_label": g.output("decision_label", g.gather(words, index)),
        "rejected": g.output("rejected", rejected),
        "reason": g.output("reason", reason),
        "probabilities": g.output("probabilities", answer),
        "confidence": g.output("confidence", g.gather(confidences, index)),
    }
