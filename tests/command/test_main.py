from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import keys, tiny
from tests.pictures import claiming, encoded
from tests.said import Command, python

import falx
from falx import phantom
from falx.classifier import Classifier
from falx.command import main as cli
from falx.decision import DEFAULT_THRESHOLDS
from falx.engines import Inference
from falx.model import attachment
from falx.model import file as model_file
from falx.words import DISCLAIMER, LABELS

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bad_inputs(tmp_path: Path) -> dict[str, Path]:
    """Everything that goes wrong with inputs, by what it is."""
    folder = tmp_path / "bad"
    (folder / "nothing").mkdir(parents=True)
    frame = Image.new("L", (9, 9))
    contents = {
        "empty": b"",
        "text": b"not an image\n",
        "truncated": encoded(phantom.clear())[:3000],
        "bomb": claiming(30_000, 30_000),
        "animated": encoded(frame, "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 200)]),
    }
    paths = {name: folder / f"{name}.png" for name in (*contents, "missing")}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    return paths | {"folder": folder / "nothing"}


def test_json_has_the_keys_of_the_design(predict: Command, scan: Path) -> None:
    said = predict(scan, "--json")
    (answer,) = said.answers
    assert (said.status, list(answer), answer["path"]) == (0, keys.PREDICTION, str(scan))
    assert list(answer["probabilities"]) == list(LABELS)
    assert answer["model"]["name"] == "tiny"


def test_bad_inputs_are_errors_and_the_rest_is_answered(
    predict: Command, scan: Path, bad_inputs: dict[str, Path]
) -> None:
    paths = [scan, *bad_inputs.values(), scan]
    said = predict(*paths, "--json")
    assert (said.status, said.err) == (1, "")
    assert {answer["schema"] for answer in said.answers} == {1}
    assert [answer["path"] for answer in said.answers] == [str(path) for path in paths]
    first, *between, last = said.answers
    assert list(first) == list(last) == keys.PREDICTION
    errors = dict(zip(bad_inputs, (answer["error"] for answer in between), strict=True))
    assert {error["type"] for error in errors.values()} == {"ImageNotFound", "UnreadableImage"}
    assert [name for name in errors if errors[name]["type"] == "ImageNotFound"] == ["missing", "folder"]
    assert "got several frames" in errors["animated"]["message"]
    assert "too large to be a slice" in errors["bomb"]["message"]


@pytest.mark.parametrize(("side", "code"), [(1, "too_small"), (200, "blank")])
def test_tiny_and_black_pictures_are_rejected_not_errors(
    predict: Command, tmp_path: Path, side: int, code: str
) -> None:
    Image.new("L", (side, side)).save(tmp_path / "black.png")
    said = predict(tmp_path / "black.png", "--json")
    (answer,) = said.answers
    assert (said.status, answer["decision"], answer["reason"]["code"]) == (0, "rejected", code)


@pytest.mark.usefixtures("scan")
def test_a_table_for_people(predict: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Image.fromarray(np.zeros((90, 90), np.uint8)).save("black.png")
    status, out, err = predict(
        "scan.png", "absent.png", "black.png", "away.png", "--threshold", "glioma=0.99"
    )
    rows = out.splitlines()
    assert max(map(len, rows)) <= 80
    assert rows[0].split() == ["file", "decision", "confidence"]
    assert rows[1].split()[:2] == ["scan.png", "ambiguous"]
    assert " or " in rows[1]
    assert rows[2:5] == [
        "absent.png  error       no such file",
        "black.png   rejected    blank",
        "away.png    error       no such file",
    ]
    assert rows[6].startswith("1 ambiguous, 1 rejected, 2 error; tiny 1.2.3 on")
    assert "Thresholds: no_tumor 0.85, meningioma 0.6, glioma 0.99 (changed; the card has" in out
    assert "\nrejected, blank: The picture is of one brightness, or nearly.\n" in out
    # What to do is said once for a decision, and an error once for all inputs that have it.
    assert out.count("a physician should look at this slice") == 1
    assert out.count("error: 2 inputs: no such file") == 1
    assert DISCLAIMER in " ".join(out.split())
    assert "\x1b" not in out
    assert (status, err) == (1, "")


def test_thresholds_of_the_command_line_come_first(predict: Command, scan: Path) -> None:
    assert predict(scan, "--json", "--threshold", "no_tumor=0.01").answers[0]["decision"] == "no_tumor"
    low = [f"--threshold={label}=0.01" for label in LABELS[1:]]
    assert predict(scan, "--json", *low).answers[0]["decision"] in LABELS[1:]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("glioma=2", r"falx: error: threshold of glioma must be in (0, 1], got 2.0"),
        ("glioma=x", "expected a number in (0, 1] after glioma=, got 'x'"),
        ("tumour=0.5", "expected LABEL=VALUE with a label of no_tumor, meningioma, glioma, pituitary"),
        ("0.5", "expected LABEL=VALUE"),
    ],
)
def test_wrong_thresholds(predict: Command, scan: Path, value: str, message: str) -> None:
    predict(scan, "--threshold", value).refuses(message)


STARTS = (["predict", "x.png", "--model"], ["info"], ["check", "--model"])
"""The commands that take a model file, up to where it is named."""


def forged(whole: bytes, **changes: Any) -> bytes:
    """A model file whose card has other fields and the checksum that goes with them."""
    card, payload = model_file.extract(whole)
    document = {key: value for key, value in card.to_dict().items() if key != "card_sha256"} | changes
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    document["card_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    text = json.dumps(document).encode()
    return payload + attachment.attachment(len(payload), text, LABELS, "tflite")


def flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]


@pytest.fixture
def whole(card: falx.Card) -> bytes:
    """A TFLite model file."""
    return model_file.embed(tiny.graph("tflite"), card, format="tflite")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda file: file[:-7], "has no card of Falx: the file is incomplete", id="truncated"),
        pytest.param(
            lambda file: flipped(file, 500), "the card belongs to weights with SHA-256 ", id="a bit"
        ),
        # The zip's own sum finds it first.
        pytest.param(
            lambda file: flipped(file, file.index(b"Tests.")),
            "has no card of Falx: the file is incomplete or damaged",
            id="a bit of the card",
        ),
        pytest.param(
            lambda _: b"my model",
            "expected a TFLite or ONNX model, got text that starts with 'my",
            id="text",
        ),
        pytest.param(
            lambda file: forged(file, thresholds=DEFAULT_THRESHOLDS.to_dict() | {"glioma": 1.5}),
            "card: threshold of glioma must be in (0, 1], got 1.5",
            id="threshold above 1",
        ),
    ],
)
def test_unusable_models(
    tmp_path: Path, whole: bytes, command: Command, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(damage(whole))
    for start in STARTS:
        said = command(*start, path)
        assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
        assert said.err.startswith(f"falx: error: {path}: {message}")


def test_a_model_that_may_not_be_read(model: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path) -> bytes:
        # Simulated: to the user root, as whom tests may run, no file is forbidden.
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    for start in STARTS:
        said = command(*start, model)
        assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
        expected = f"falx: error: {model}: cannot read the model file: [Errno 13] Permission denied"
        assert said.err.startswith(expected)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("abacus", "unknown engine 'abacus'; known are litert, tflite, onnx"),
        (
            "litert",
            "engine litert needs ai-edge-litert, which cannot be imported (no such module): "
            "pip install ai-edge-litert",
        ),
    ],
)
def test_unusable_engines(tmp_path: Path, whole: bytes, falx_process: Run, engine: str, message: str) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(whole)
    # Found before what is installed, so that it makes no difference what is.
    fake = tmp_path / "first" / "ai_edge_litert"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "interpreter.py").write_text("raise ImportError('no such module')")
    before = os.pathsep.join([str(tmp_path / "first"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    for start in (["predict", "x.png"], ["check"]):
        done = falx_process(*start, "--model", path, "--engine", engine, PYTHONPATH=before)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"falx: error: {message}\n")


def test_an_image_that_may_not_be_read(predict: Command, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = scan.with_name("denied.png")
    denied.write_bytes(scan.read_bytes())
    looked = os.stat

    def deny(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if path == str(denied):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return looked(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", deny)
    said = predict(denied, scan, "--json")
    first, second = said.answers
    message = f"{denied}: permission to read it is denied"
    assert first["error"] == {"type": "ImageForbidden", "message": message}
    assert (said.status, list(second), said.err) == (1, keys.PREDICTION, "")


@pytest.mark.parametrize(
    ("probabilities", "decision"),
    [
        ([0.31, 0.30, 0.30, 0.09], "no_tumor"),
        ([0.30, 0.25, 0.35, 0.10], "ambiguous"),
        ([0.25, 0.22, 0.40, 0.13], "glioma"),
        ([0.30, 0.20, 0.31, 0.19], "ambiguous"),
        ([0.30, 0.25, 0.20, 0.25], "meningioma"),
        ([0.30, 0.23, 0.20, 0.27], "pituitary"),
    ],
)
def test_thresholds_far_below_a_half(
    any_engine: str,
    model_of: Callable[..., Path],
    scan: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    probabilities: list[float],
    decision: str,
) -> None:
    # As Youden's index chooses them: no label needs the half of all probability.
    chosen = falx.Thresholds(no_tumor=0.31, meningioma=0.2, glioma=0.4, pituitary=0.27)
    path = model_of(any_engine, thresholds=chosen)
    assert "no_tumor 0.31, meningioma 0.2, glioma 0.4, pituitary 0.27" in command("info", path).out
    monkeypatch.setattr("falx.engines.pool.Pool.run", lambda *_: Inference(probabilities, None, None, None))
    (answer,) = command("predict", scan, "--json", "--model", path).answers
    assert answer["decision"] == decision
    assert answer["confidence"] == answer["probabilities"].get(decision)


def test_heatmaps(predict: Command, scan: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "scan.png"
    other.parent.mkdir()
    other.write_bytes(scan.read_bytes())
    out = tmp_path / "maps"
    said = predict(scan, other, "--heatmaps", out)
    assert (said.status, said.out.splitlines()[-1]) == (0, f"2 heatmaps written to {out}.")
    assert sorted(path.name for path in out.iterdir()) == ["scan-2.png", "scan.png"]
    with Image.open(out / "scan.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (256, 256))
    predict(scan, other, "--heatmaps", out).refuses("expected a new or empty folder, this one holds files")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(missing_ok=True), "no such file"),
        (lambda path: Image.new("L", (70, 70)).save(path), "expected 256 x 256 pixels, got 70 x 70"),
    ],
    ids=["gone", "of another size"],
)
def test_a_slice_that_changes_before_its_heatmap_is_drawn_keeps_its_answer(
    predict: Command,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    why: str,
) -> None:
    first, maps = tmp_path / "first.png", tmp_path / "maps"
    first.write_bytes(scan.read_bytes())
    real = Classifier.predict_many

    def then_changed(self: Classifier, *arguments: Any, **options: Any) -> Iterator[Any]:
        for result in real(self, *arguments, **options):
            change(first)
            yield result

    monkeypatch.setattr(Classifier, "predict_many", then_changed)
    said = predict(first, scan, "--json", "--heatmaps", maps)
    assert (said.status, [answer["decision"] for answer in said.answers]) == (1, ["ambiguous"] * 2)
    assert said.err == (
        f"falx: warning: {first}: {why}: the file changed since it was classified, so there is no heatmap; "
        "classify it again\n"
    )
    assert [path.name for path in maps.iterdir()] == ["scan.png"]


def test_heatmaps_of_a_model_without(
    predict: Command, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.model.card.Card.has_heatmap", False)
    predict(scan, "--heatmaps", tmp_path / "maps").refuses("--heatmaps: the model tiny makes no heatmaps")
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_folders_and_workers(predict: Command, tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(7):
        Image.fromarray(phantom.clear()).save(folder / f"{number}.png")
    said = predict(folder, "--json", "--workers", workers)
    assert (said.status, [Path(a["path"]).stem for a in said.answers]) == (0, list("0123456"))


def test_info(model: Path, command: Command) -> None:
    assert "tiny 1.2.3" in command("info", model).out
    assert falx.Card.from_json(command("info", model, "--json").out).name == "tiny"


def test_check(model: Path, command: Command) -> None:
    said = command("check", "--model", model, "--json")
    report = json.loads(said.out)
    assert said.status == (0 if report["ok"] else 1)
    assert [step["name"] for step in report["steps"]] == ["file", "known inputs", "latency"]
    assert report["falx"] == falx.__version__
    assert report["model"] == falx.load(model).model.to_dict()
    out = command("check", "--model", model).out
    assert "ok           file: tiny" in out
    assert "not checked  known inputs: this model's card stores no answers" in out
    assert DISCLAIMER in out


def test_check_fails_where_the_machine_is_slow(
    model: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.check.BUDGET_MS", 1e-6)
    said = command("check", "--model", model)
    assert said.status == 1
    assert "FAIL         latency" in said.out


def test_demo(model: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "pictures"
    said = command("demo", "--model", model, "--out", out)
    names = ("clear", "lesion", "gradient")
    drawn = [row.split()[0] for row in said.out.splitlines() if row.startswith(names)]
    assert (said.status, drawn) == (0, [*names])
    assert "1 rejected" in said.out
    assert DISCLAIMER in said.out
    assert "falx predict YOUR_SLICE.png" in said.out.replace("\n", " ")
    files = ["clear-heatmap.png", "clear.png", "gradient.png", "lesion-heatmap.png", "lesion.png"]
    assert sorted(path.name for path in out.iterdir()) == files


def test_version_and_help(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command("--version") == (0, f"falx {falx.__version__}\n", "")
    for name in ("predict", "info", "check", "demo", "retarget"):
        said = command(name, "--help")
        assert said.status == 0
        assert DISCLAIMER in said.out


def test_help_loads_neither_numpy_nor_pillow() -> None:
    code = "import sys; from falx.command.main import command_line; command_line(); print(*sys.modules)"
    loaded = python("-c", code).out.split()
    assert "falx.command.predict" in loaded
    assert not {"numpy", "PIL"} & {*loaded}


@pytest.mark.parametrize("form", [["--json"], []])
def test_a_reader_that_leaves_is_no_error(model: Path, scan: Path, form: list[str]) -> None:
    command = [sys.executable, "-m", "falx", "predict", *[str(scan)] * 200, *form, "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == cli.BROKEN_PIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("form", [["--json"], []])
def test_output_on_a_full_disk(model: Path, scan: Path, form: list[str]) -> None:
    command = [sys.executable, "-m", "falx", "predict", str(scan), "--model", str(model), *form]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "falx: error: cannot write the output: No space left on device; make room\n"


def test_an_interrupt_is_quiet(model: Path, scan: Path) -> None:
    command = [sys.executable, "-m", "falx", "predict", *[str(scan)] * 5000, "--json", "--model", str(model)]
    # A shell's background jobs ignore interrupts, and so would their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert err == b"\n"


def test_a_defect_is_one_line(predict: Command, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falx.slices.rejection.check", lambda *_: 1 // 0)
    said = predict(scan)
    assert said.status == 2
    assert said.err.startswith("falx: error: ZeroDivisionError: ")
    assert "`python -X dev -m falx` with the same arguments shows where" in said.err


def test_warnings_are_a_line_on_standard_error(
    predict: Command, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.classifier.caution", lambda *_: "slow here")
    said = predict(scan, "--json")
    assert (said.status, said.err) == (0, "falx: warning: slow here\n")


def test_names_that_are_no_text(model: Path, tmp_path: Path, falx_process: Run) -> None:
    (folder := tmp_path / "scans").mkdir()
    path = os.fsencode(folder) + b"/\xff\n.png"
    Path(os.fsdecode(path)).write_bytes(encoded(np.zeros((9, 9), np.uint8)))
    for arguments in (["--json"], []):
        done = falx_process("predict", folder, "--model", model, *arguments)
        assert done.returncode == 0
        assert done.stderr == ""
        assert "\\n.png" in done.stdout


def test_a_process_of_its_own_leaves_the_collector_on_and_what_is_loaded_alone(
    predict: Command, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr("gc.freeze", lambda: done.append("freeze"))
    assert (predict(scan).status, done) == (0, [])
    gc.disable()
    assert (predict(scan).status, done) == (0, ["freeze"])
    assert gc.isenabled()


def test_the_end_of_the_process_loses_nothing(scan: Path, model: Path, falx_process: Run) -> None:
    many = 3000
    result = falx_process("predict", *[scan] * 20, *["absent.png"] * many, "--model", model)
    assert result.returncode == 1
    assert result.stdout.count("absent.png") == many
    assert result.stdout.endswith(f"{DISCLAIMER}\n")
    assert falx_process("predict", scan, "--model", "absent.onnx").returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="closes streams as a Unix shell does")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_streams_that_are_closed_keep_nothing_from_being_answered(
    scan: Path, model: Path, tmp_path: Path, closed: str
) -> None:
    out = tmp_path / "out.jsonl"
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "falx", "predict", str(scan)]
    command += ["--model", str(model), "--resume", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert [json.loads(line)["path"] for line in out.read_text().splitlines()] == [str(scan)]
    assert done.stdout.endswith(f"{DISCLAIMER}\n") is (closed == "2>&-")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a command; there are predict, study,"),
        (["predict"], "the following arguments are required: PATH"),
        (["predict", "x", "--workers", "0"], "argument --workers: expected a whole number from 1, got '0'"),
        (["predct", "x"], "unknown command 'predct'; there are predict, study,"),
        (["predct", "x"], ". Did you mean predict?"),
        (["help"], "completion. `falx --help` says what they do"),
        (["--versoin"], "unrecognized arguments: --versoin. Did you mean --version?"),
        (["predict", "x", "--jsn"], "unrecognized arguments: --jsn. Did you mean --json?"),
        (["study", "x", "--sheats=y"], "unrecognized arguments: --sheats=y. Did you mean --sheets?"),
        (["predict", "x", "--qqqqq"], "unrecognized arguments: --qqqqq\n"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(arguments: list[str], message: str, command: Command) -> None:
    command(*arguments).refuses("usage: falx", message)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "expected a model file, got a folder; give the .tflite or .onnx file in it"),
        ("a.keras", "is a model of Keras, which Falx does not run; export it first"),
        ("away/a.onnx", "no such model file: there is no folder "),
        ("a.onnx", "no such model file; give the path of a .tflite or .onnx file"),
        ("https://models.example/a.onnx", "is an address, and Falx downloads nothing"),
    ],
)
def test_what_is_not_a_model_file_gets_its_sentence(
    model: str, message: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "a.keras").write_bytes(b"PK")
    command("predict", "x.png", "--model", model if "://" in model else tmp_path / model).refuses(message)


def test_a_message_fits_the_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    absent = command("predict", "x.png", "--model", "nothing-of-the-kind.tflite")
    mistyped = command("predct")
    assert (absent.status, mistyped.status) == (2, 2)
    lines = (absent.err + mistyped.err).splitlines()
    assert lines[:2] == [
        "falx: error: nothing-of-the-kind.tflite: no such model file;",
        "give the path of a .tflite or .onnx file",
    ]
    assert max(map(len, lines)) <= 60


def test_what_a_line_has_told_is_not_told_again(
    predict: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    (tmp_path / "notes.txt").write_text("words")
    said = predict(tmp_path / "absent.png", tmp_path / "notes.txt")
    assert said.status == 1
    assert said.out.count("no such file") == 1
    # Cut short in the table, so told in whole.
    assert "error: expected PNG, JPEG, BMP, GIF, PPM, TIFF, WEBP," in said.out
    # Nothing was decided by them.
    assert "Thresholds" not in said.out


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_what_there_is(shell: str, command: Command) -> None:
    completion = pytest.importorskip("tools.completion", reason="shtab is not installed")
    # The scripts are in the wheel; `python -m tools.completion` writes them anew.
    assert command("completion", shell).out in completion.scripts().values()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(tmp_path: Path) -> None:
    script = tmp_path / "falx.bash"
    script.write_text(Path(cli.__file__).with_name("completion.bash").read_text())
    code = (
        f"source {script}; COMP_WORDS=(falx predict --he); COMP_CWORD=2; _shtab_falx; "
        'printf "%s\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["--heatmaps", "--help"]
