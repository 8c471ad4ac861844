"""Run folders: what is written is read again, and what is wrong in one is named."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from tests import finished as runs

from falx.decision import DEFAULT_THRESHOLDS
from falx_runs.errors import DataError, RunError
from falx_runs.run_folder import FinishedRun, fingerprint_in, is_finished, read_run, write_run

CALIBRATION = "temperature, offset and kind_temperature, the temperatures above 0"


def finished(folder: Path) -> FinishedRun:
    """A run that tells all it can."""
    told = {"changes": {"batch": 8}, "weights": "imagenet", "versions": {"keras": "3"}}
    return runs.finished(folder, least_familiarity=0.9, seconds=12, license="CC0", **told)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.keras").write_bytes(b"model")
    (tmp_path / "data.csv").write_text("path,label\n")
    write_run(finished(tmp_path))
    return tmp_path


def change(folder: Path, *dropped: str, **fields: object) -> None:
    path = folder / "meta.json"
    facts = {**json.loads(path.read_text()), **fields}
    path.write_text(json.dumps({key: value for key, value in facts.items() if key not in dropped}))


def test_a_run_written_is_read_again(folder: Path, tmp_path: Path) -> None:
    assert read_run(folder) == finished(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "meta.json", "model.keras"]
    assert is_finished(folder)
    (folder / "meta.json").unlink()
    assert not is_finished(folder)


def test_what_a_run_does_not_tell_is_not_written(tmp_path: Path) -> None:
    write_run(dataclasses.replace(finished(tmp_path), changes=None, license=None, seconds=None))
    facts = json.loads((tmp_path / "meta.json").read_text())
    assert not {"changes", "license", "seconds", "folder"} & facts.keys()
    assert read_run(tmp_path).changes is None


def test_what_a_run_may_lack(folder: Path) -> None:
    optional = ("changes", "least_familiarity", "license", "seconds", "versions", "weights")
    change(folder, *optional)
    (folder / "data.csv").unlink()
    run = read_run(folder)
    assert (run.changes, run.weights, run.least_familiarity, run.versions) == (None, None, 0.0, {})
    assert run.manifest is None
    assert not {"changes", "weights"} & run.provenance().keys()


def test_provenance_tells_where_a_model_comes_from(folder: Path) -> None:
    provenance = read_run(folder).provenance()
    # echo -n model | sha256sum
    expected = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    assert provenance.pop("model_sha256") == expected
    assert provenance == {
        "trainer": "0.1.0",
        "preset": "default",
        "changes": {"batch": 8},
        "weights": "imagenet",
        "seed": 7,
        "data": {"fingerprint": "0" * 64},
        "versions": {"keras": "3"},
        "calibration": {"temperature": 1.5, "offset": 0.3, "kind_temperature": 1.2},
    }
    assert fingerprint_in(provenance) == "0" * 64


@pytest.mark.parametrize("provenance", [{}, {"data": 3}, {"data": {}}, {"data": {"fingerprint": 3}}])
def test_a_fingerprint_that_is_not_told(provenance: dict[str, object]) -> None:
    assert fingerprint_in(provenance) is None


def test_the_images_are_those_given_or_the_runs(folder: Path) -> None:
    run = read_run(folder)
    assert run.images(Path("mine")) == Path("mine")
    assert run.images(None) == folder / "data.csv"
    (folder / "data.csv").unlink()
    with pytest.raises(DataError, match=r"has no data\.csv, which says .*; give images with --data"):
        run.images(None)


def test_a_name_given_takes_the_place_of_the_runs(folder: Path) -> None:
    change(folder, name="not a name")
    assert read_run(folder, "mine").name == "mine"
    with pytest.raises(RunError, match=re.escape("got '../x'")):
        read_run(folder, "../x")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": 1}, "schema must be 2 (train the run anew, or use the checkout that trained it), got 1"),
        ({"name": "../x"}, "name must be a name of letters, digits, '.', '_' and '-', got '../x'"),
        ({"labels": ["glioma"]}, "labels must be ['no_tumor', 'meningioma', 'glioma', 'pituitary'], in this"),
        ({"preprocessing": "other"}, "preprocessing must be 'falx-head-1', got 'other'"),
        *(
            ({"calibration": wrong}, f"calibration must be {CALIBRATION}, got {wrong!r}")
            for wrong in (
                1.5,
                {"temperature": 1.5, "offset": 0.0},
                {"temperature": 0, "offset": 0.0, "kind_temperature": 1.0},
                {"temperature": 1.0, "offset": 0.0, "kind_temperature": True},
                {"temperature": 1.0, "offset": "0", "kind_temperature": 1.0},
                {"temperature": 1.0, "offset": 0.0, "kind_temperature": 1.0, "scale": 1.0},
            )
        ),
        ({"thresholds": {"glioma": 0.5}}, "no threshold for no_tumor, meningioma, pituitary"),
        ({"thresholds": DEFAULT_THRESHOLDS.to_dict() | {"no_tumor": 1.5}}, "must be in (0, 1], got 1.5"),
        ({"license": 3}, "license must be a text, got 3"),
        ({"least_familiarity": 1.5}, "least_familiarity must be a number in 0..1, got 1.5"),
        ({"least_familiarity": "0.5"}, "least_familiarity must be a number in 0..1, got '0.5'"),
        ({"least_familiarity": True}, "least_familiarity must be a number in 0..1, got True"),
        ({"seed": True}, "seed must be an integer, got True"),
        ({"versions": "3"}, "versions must be an object, got '3'"),
        ({"weights": None}, "weights must be a text, got None"),
        ({"changes": ["batch"]}, "changes must be an object, got ['batch']"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, fields: dict[str, object], message: str) -> None:
    change(folder, **fields)
    with pytest.raises(RunError, match=re.escape(message)):
        read_run(folder)


def test_what_is_missing_is_named(folder: Path) -> None:
    change(folder, "seed")
    with pytest.raises(RunError, match=re.escape("lacks 'seed' (an integer)")):
        read_run(folder)
    (folder / "meta.json").unlink()
    with pytest.raises(RunError, match=r"has no meta\.json; give the folder that"):
        read_run(folder)
    with pytest.raises(RunError, match="expected a run folder, found none there"):
        read_run(folder / "nothing")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "expected JSON that can be read"), ("[]", "expected a JSON object, got list")]
)
def test_meta_that_is_no_object(folder: Path, text: str, message: str) -> None:
    (folder / "meta.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read_run(folder)
