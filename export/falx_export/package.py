"""One exported file: the graph, the card that goes with it, and the engine that proves both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from falx import check, engines
from falx.model.card import Card, Format, TensorSpec
from falx.model.file import embed
from falx.slices.limits import Limits
from falx_export.convert import tflite_metadata
from falx_export.convert.graph import output_shapes
from falx_runs.run_folder import FinishedRun

VERSION: Final = "1.0.0"
LICENSE: Final = "weights: research use only, unless the data they were trained on allow more"
"""Used unless the run or the command line says otherwise: some training images are for research only."""

INTENDED_USE: Final = (
    "Research and education: brain-tumour classification of single MRI slices of the head. "
    "Not for diagnosis, triage or treatment decisions."
)


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted graph; its scheme says in a sentence how it was quantized."""

    payload: bytes
    format: Format
    quantization: str
    scheme: str

    def file_name(self, name: str) -> str:
        """Returns the file's name for a model of this name."""
        return f"{name}-{self.quantization}.{self.format}"


def card(
    run: FinishedRun,
    model: keras.Model,
    graph: Converted,
    version: str | None = None,
    license_: str | None = None,
    intended_use: str | None = None,
) -> Card:
    """Returns the card of a graph, still without what the graph answers to known inputs."""
    return Card(
        name=run.name,
        version=version or VERSION,
        license=license_ or run.license or LICENSE,
        intended_use=intended_use or INTENDED_USE,
        thresholds=run.thresholds,
        temperature=run.calibration.temperature,
        metrics=run.metrics,
        provenance=run.provenance(),
        quantization={"format": graph.quantization, "scheme": graph.scheme},
        outputs={
            output: TensorSpec(output, "float32", shape) for output, shape in output_shapes(model).items()
        },
        rejection=Limits(least_familiarity=run.least_familiarity),
    )


def with_metadata(graph: Converted, described: Card) -> Converted:
    """Returns a graph that tells programs without Falx what it takes and answers, where its format can."""
    if graph.format != "tflite":
        return graph
    return replace(graph, payload=tflite_metadata.described(graph.payload, described))


def started(graph: Converted, described: Card) -> engines.Engine:
    """Returns the runtime's own engine for a graph."""
    name = engines.choose(None, graph.format)
    return engines.start(name, graph.payload, described, threads=1)


def sealed(graph: Converted, described: Card, engine: engines.Engine) -> bytes:
    """Returns the file: the graph and its card, with this very graph's answers to the drawn phantoms."""

    def infer(tensor: npt.NDArray[np.uint8]) -> list[float]:
        return [float(p) for p in engine.run(tensor)["probabilities"]]

    tested = replace(described, self_test=check.answers(infer))
    return embed(graph.payload, tested, format=graph.format)
