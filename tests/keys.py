"""The keys of what Falx prints as JSON, in their order."""

from __future__ import annotations

PREDICTION = [
    "schema",
    "path",
    "decision",
    "confidence",
    "band",
    "probabilities",
    "recommendation",
    "thresholds",
    "thresholds_changed",
    "model",
    "elapsed_ms",
]
"""The keys of a slice that was answered and not rejected."""
