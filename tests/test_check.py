from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from tests import tiny
from tests.said import Command
from tests.tiny import ModelOf

import falx
from falx import check, phantom
from falx.model.card import SelfTest
from falx.slices.limits import Limits
from falx.slices.preprocessing import prepare

Checked = Callable[..., check.Report]


@pytest.fixture
def stored() -> tuple[SelfTest, ...]:
    return check.answers(lambda tensor: list(tiny.answer(tensor)[0]))


@pytest.fixture
def checked(any_engine: str, model_of: ModelOf) -> Checked:
    """Checks the tiny model, with fields of its card replaced, in all but its latency."""
    return lambda **changes: check.run(falx.load(model_of(any_engine, **changes)), latency=False)


def test_answers_are_those_for_every_phantom(stored: tuple[SelfTest, ...]) -> None:
    assert [test.phantom for test in stored] == list(phantom.PHANTOMS)
    expected = tiny.answer(prepare(phantom.lesion())[0])[0]
    assert stored[1].probabilities == pytest.approx(tuple(expected))


def test_an_installation_that_works(engine: str, model_of: ModelOf, stored: tuple[SelfTest, ...]) -> None:
    report = check.run(falx.load(model_of(engine, self_test=stored), engine=engine))
    file, known, latency = report.steps
    assert (file.name, known.name, latency.name) == ("file", "known inputs", "latency")
    assert (file.ok, known.ok) == (True, True)
    assert "weights and card have the checksums they were written with; SHA-256 " in file.detail
    assert "2 phantoms, largest difference of a probability 0.000" in known.detail
    assert report.latency is not None
    assert 0 < report.latency.p50_ms <= report.latency.p99_ms
    assert report.ok == (report.latency.p99_ms <= check.BUDGET_MS)
    assert report.to_dict()["latency"] == {
        "p50_ms": report.latency.p50_ms,
        "p99_ms": report.latency.p99_ms,
        "runs": 100,
        "budget_ms": 100.0,
        "processor_share": report.latency.processor_share,
    }


@pytest.mark.parametrize(
    ("phantoms", "ok", "detail"),
    [
        ([], None, "stores no answers to compare with"),
        (["clear"], False, "at most 0.01 is allowed"),
        (["elephant"], False, "cannot draw the phantom 'elephant'; update it"),
    ],
)
def test_known_inputs(checked: Checked, phantoms: list[str], ok: bool | None, detail: str) -> None:
    report = checked(self_test=tuple(SelfTest(name, (1.0, 0.0, 0.0, 0.0)) for name in phantoms))
    step = report.steps[1]
    assert step.ok is ok
    assert detail in step.detail
    assert report.ok is (ok is not False)


@pytest.mark.filterwarnings("ignore:tflite-runtime runs int8:falx.FalxWarning")
@pytest.mark.parametrize(
    ("quantization", "apart", "ok"),
    [("int8", 0.11, True), ("int8", 0.16, False), ("float16", 0.005, True), ("float32", 0.011, False)],
)
def test_how_far_an_answer_may_be_from_the_stored_one(
    checked: Checked, stored: tuple[SelfTest, ...], quantization: str, apart: float, ok: bool
) -> None:
    tests = tuple(
        SelfTest(test.phantom, tuple(p - apart if p > 0.5 else p for p in test.probabilities))
        for test in stored
    )
    about = {"format": quantization, "scheme": "as tested"}
    step = checked(self_test=tests, quantization=about).steps[1]
    assert step.ok is ok
    told = re.search(r"largest difference of a probability (\S+); at most", step.detail)
    assert told
    # Engines round the answers themselves to the last digit that is shown.
    assert float(told[1]) == pytest.approx(apart, abs=2e-4)


def test_a_phantom_that_the_card_rejects(checked: Checked, stored: tuple[SelfTest, ...]) -> None:
    step = checked(self_test=stored, rejection=Limits(minimum_side=300)).steps[1]
    assert (step.ok, step.detail) == (False, "the phantom clear is rejected by the card's parameters")


def test_a_phantom_that_the_model_finds_unfamiliar_must_still_give_the_same_answer(
    any_engine: str, model_of: ModelOf, stored: tuple[SelfTest, ...], answering: Callable[..., None]
) -> None:
    path = model_of(any_engine, self_test=stored, rejection=Limits(least_familiarity=0.5))
    answering(lambda outputs: outputs | {"familiarity": np.array([0.1], np.float32)})
    classifier = falx.load(path)
    assert classifier.predict(phantom.lesion()).decision == "rejected"
    step = check.run(classifier, latency=False).steps[1]
    assert step.ok is True
    assert "2 phantoms, largest difference of a probability 0.000" in step.detail


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("flipped", "the card belongs to weights with SHA-256"),
        ("replaced", " is no longer the file that was loaded; load it again"),
        ("missing", "no such model file"),
    ],
)
def test_a_file_that_changed_after_it_was_loaded(
    any_engine: str, model_of: ModelOf, damage: str, said: str
) -> None:
    path = model_of(any_engine)
    classifier = falx.load(path, engine=any_engine)
    if damage == "flipped":
        content = bytearray(path.read_bytes())
        content[500] ^= 4
        path.write_bytes(content)
    elif damage == "replaced":
        model_of(any_engine, name="another")
    else:
        path.unlink()
    report = check.run(classifier, latency=False)
    assert (report.ok, report.steps[0].ok) == (False, False)
    assert said in report.steps[0].detail
    assert path.name in report.steps[0].detail


def test_a_slow_machine_fails(classifier: falx.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "BUDGET_MS", 1e-6)
    monkeypatch.setattr(check, "RUNS", 3)
    report = check.run(classifier)
    assert not report.ok
    assert "the budget is 1e-06 ms" in report.steps[2].detail
    assert report.latency is not None
    assert np.isfinite(report.latency.p99_ms)


@pytest.mark.parametrize(("seconds", "busy"), [(3.0, True), (9.5, False)])
def test_a_busy_machine_is_told_from_a_slow_one(
    classifier: falx.Classifier, monkeypatch: pytest.MonkeyPatch, seconds: float, busy: bool
) -> None:
    monkeypatch.setattr(check, "RUNS", 3)
    # The clock shows 10 s for the runs, of which the process had the processor for some.
    processor, clock = iter([1.0, 1.0 + seconds]), iter([50.0, 60.0])
    monkeypatch.setattr("time.process_time", lambda: next(processor))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    detail = check.run(classifier).steps[2].detail
    share = f"the runs had the processor for {10 * seconds:.0f} % of their time"
    assert (f"this machine is busy: {share}" in detail) == busy


def test_without_latency_all_else_is_checked_and_the_report_says_what_was_not(
    any_engine: str,
    model_of: ModelOf,
    stored: tuple[SelfTest, ...],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "BUDGET_MS", 1e-6)
    path = model_of(any_engine, self_test=stored)
    said = command("check", "--model", path, "--no-latency", "--json")
    (report,) = said.answers
    steps = {step["name"]: step["ok"] for step in report["steps"]}
    assert (said.status, steps) == (0, {"file": True, "known inputs": True, "latency": None})
    assert report["steps"][2]["detail"] == "not measured, as asked for; the budget is 1e-06 ms"
    assert report["latency"] is None
