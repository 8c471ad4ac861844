"""Whatever Falx writes as JSON is as `schema.json` in the package says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image
from tests.said import Command

import falx
from falx import phantom, prediction
from falx.model import card

SCHEMA: dict[str, Any] = json.loads((files("falx") / "schema.json").read_text(encoding="utf-8"))


def _closed(part: Any) -> Any:
    """The same schema without room for keys that it does not name, so that each of them is described."""
    if isinstance(part, dict):
        part = {key: _closed(value) for key, value in part.items()}
        if "properties" in part:
            part["additionalProperties"] = False
        return part
    return [_closed(item) for item in part] if isinstance(part, list) else part


def check(kind: str, document: object) -> None:
    schema = {"$schema": SCHEMA["$schema"], "$defs": _closed(SCHEMA["$defs"]), "$ref": f"#/$defs/{kind}"}
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(document)))


def test_the_schema_is_one_and_of_the_versions_in_the_code() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    defs = SCHEMA["$defs"]
    assert SCHEMA["$id"] == f"urn:falx:output:{prediction.SCHEMA}"
    for kind in ("prediction", "failure", "study", "check"):
        assert defs[kind]["properties"]["schema"] == {"const": prediction.SCHEMA}
    assert defs["card"]["properties"]["schema"] == {"const": card.SCHEMA}


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    for name, pixels in (("lesion", phantom.lesion()), ("clear", phantom.clear())):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    Image.fromarray(np.zeros((99, 99), np.uint8)).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--timings"], ["--threshold", "glioma=0.999"]])
def test_predictions_and_failures(inputs: Path, command: Command, options: list[str]) -> None:
    lines = command("predict", "--json", inputs, *options).answers
    for line in lines:
        check("failure" if "error" in line else "prediction", line)
    assert {line.get("decision", "error") for line in lines} >= {"no_tumor", "rejected", "error"}


def test_slices_of_every_format_say_which(tmp_path: Path, classifier: falx.Classifier) -> None:
    pages = [Image.fromarray(page) for page in (phantom.clear(), phantom.lesion())]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    volume = np.stack([phantom.clear()] * 2)
    for source, format_ in ((tmp_path / "stack.tif", "tiff"), (volume, "array")):
        answered = classifier.predict_study(source).to_dict()
        check("study", answered)
        assert {one["origin"]["format"] for one in answered["slices"]} == {format_}


def test_studies(inputs: Path, command: Command) -> None:
    (answered,) = command("study", "--json", "--one-patient", inputs).answers
    check("study", answered)
    assert len(answered["slices"]) == 4
    for line in command("study", "--json", inputs).answers:
        check("failure", line)


def test_the_golden_answers() -> None:
    seen = set()
    for row in (Path(__file__).parent / "command" / "golden.jsonl").read_text(encoding="utf-8").splitlines():
        command = json.loads(row)
        for answer in command["answers"]:
            _timed(answer)
            kind = "study" if "slices" in answer else "failure" if "error" in answer else "prediction"
            seen.add(kind)
            check(kind, answer)
    assert seen == {"study", "failure", "prediction"}


def _timed(answer: Any) -> None:
    """Gives an answer of the golden file back the times that the file leaves out."""
    for one in (answer, *answer.get("slices", ())):
        if "error" not in one:
            one["elapsed_ms"] = 1.0


def test_cards(command: Command) -> None:
    for model in [None, *sorted((Path(__file__).parents[1] / "models").glob("*/*.onnx"))]:
        (document,) = command("info", "--json", *([] if model is None else [model])).answers
        check("card", document)


def test_the_proof_of_an_installation(model: Path, command: Command) -> None:
    for options in (["--no-latency"], []):
        (document,) = command("check", "--json", "--model", model, *options).answers
        check("check", document)


def test_the_command_prints_it(command: Command) -> None:
    assert json.loads(command("schema").out) == SCHEMA


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.pop("thresholds"),
        lambda answer: answer.update(decision="tumour"),
        lambda answer: answer["probabilities"].update(glioma=1.2),
        lambda answer: answer.update(schema=2),
        lambda answer: answer["model"].update(sha256="abc"),
    ],
)
def test_other_answers_are_refused(change: Callable[[dict[str, Any]], object]) -> None:
    answer = falx.load().predict(phantom.lesion()).to_dict()
    check("prediction", answer)
    changed = copy.deepcopy(answer)
    change(changed)
    with pytest.raises(jsonschema.ValidationError):
        check("prediction", changed)
