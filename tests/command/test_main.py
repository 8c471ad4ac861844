from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import keys

import falx
from falx import phantom
from falx.classifier import Classifier
from falx.command import main as cli
from falx.command.main import main
from falx.engines import Inference
from falx.model import attachment
from falx.model import file as model_file
from falx.model.card import Format
from falx.words import DISCLAIMER, LABELS

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.png"
    Image.fromarray(phantom.lesion()).save(path)
    return path


@pytest.fixture
def bad_inputs(tmp_path: Path) -> dict[str, Path]:
    """Everything that goes wrong with inputs, by what it is."""
    folder = tmp_path / "bad"
    folder.mkdir()
    contents = {
        "empty": b"",
        "text": b"not an image\n",
        "truncated": _png(phantom.clear())[:3000],
        "bomb": _claims(30_000, 30_000),
    }
    paths = {name: folder / f"{name}.png" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    frames = [Image.new("L", (9, 9), level) for level in (0, 200)]
    paths["animated"] = folder / "animated.gif"
    frames[0].save(paths["animated"], save_all=True, append_images=frames[1:])
    paths["missing"] = folder / "missing.png"
    paths["folder"] = folder / "nothing"
    paths["folder"].mkdir()
    return paths


def _png(pixels: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _claims(width: int, height: int) -> bytes:
    """A PNG that claims a size, with no data."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, b"IDAT")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_has_the_keys_of_the_design(model: Path, scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(scan), "--json", "--model", str(model)]) == 0
    (answer,) = lines(capsys.readouterr().out)
    assert list(answer) == keys.PREDICTION
    assert answer["path"] == str(scan)
    assert list(answer["probabilities"]) == list(LABELS)
    assert answer["model"]["name"] == "tiny"


def test_bad_inputs_are_errors_and_the_rest_is_answered(
    model: Path, scan: Path, bad_inputs: dict[str, Path], falx_process: Run
) -> None:
    paths = [scan, *bad_inputs.values(), scan]
    done = falx_process("predict", *paths, "--json", "--model", model)
    assert done.returncode == 1
    assert done.stderr == ""
    answers = lines(done.stdout)
    assert {answer["schema"] for answer in answers} == {1}
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    assert list(answers[0]) == list(answers[-1]) == keys.PREDICTION
    errors = dict(zip(bad_inputs, (answer["error"] for answer in answers[1:-1]), strict=True))
    assert {name: error["type"] for name, error in errors.items()} == {
        "empty": "UnreadableImage",
        "text": "UnreadableImage",
        "truncated": "UnreadableImage",
        "bomb": "UnreadableImage",
        "animated": "UnreadableImage",
        "missing": "ImageNotFound",
        "folder": "ImageNotFound",
    }
    assert "got several frames" in errors["animated"]["message"]
    assert "too large to be a slice" in errors["bomb"]["message"]


@pytest.mark.parametrize("side", [1, 200])
def test_tiny_and_black_pictures_are_rejected_not_errors(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], side: int
) -> None:
    path = tmp_path / "black.png"
    Image.new("L", (side, side)).save(path)
    assert main(["predict", str(path), "--json", "--model", str(model)]) == 0
    (answer,) = lines(capsys.readouterr().out)
    assert answer["decision"] == "rejected"
    assert answer["reason"]["code"] == ("too_small" if side == 1 else "blank")


def test_a_table_for_people(
    model: Path,
    scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Image.fromarray(np.zeros((90, 90), np.uint8)).save("black.png")
    inputs = ["scan.png", "absent.png", "black.png", "away.png"]
    assert main(["predict", *inputs, "--threshold", "glioma=0.99", "--model", str(model)]) == 1
    out, err = capsys.readouterr()
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
    assert err == ""


def test_thresholds_of_the_command_line_come_first(
    model: Path, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(scan), "--json", "--model", str(model)]
    assert main([*arguments, "--threshold", "no_tumor=0.01"]) == 0
    assert lines(capsys.readouterr().out)[0]["decision"] == "no_tumor"
    low = [f"--threshold={label}=0.01" for label in LABELS[1:]]
    assert main([*arguments, *low]) == 0
    assert lines(capsys.readouterr().out)[0]["decision"] in LABELS[1:]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("glioma=2", r"falx: error: threshold of glioma must be in (0, 1], got 2.0"),
        ("glioma=x", "expected a number in (0, 1] after glioma=, got 'x'"),
        ("tumour=0.5", "expected LABEL=VALUE with a label of no_tumor, meningioma, glioma, pituitary"),
        ("0.5", "expected LABEL=VALUE"),
    ],
)
def test_wrong_thresholds(model: Path, scan: Path, falx_process: Run, value: str, message: str) -> None:
    done = falx_process("predict", scan, "--model", model, "--threshold", value)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["predict"], ["predict", "x", "--workers", "0"], ["nonsense"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: falx" in capsys.readouterr().err


def forged(whole: bytes, **changes: Any) -> bytes:
    """A model file whose card has other fields and the checksum that goes with them."""
    card, payload = model_file.extract(whole)
    document = {key: value for key, value in card.to_dict().items() if key != "card_sha256"} | changes
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    document["card_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    return attached(payload, json.dumps(document).encode())


def attached(payload: bytes, text: bytes) -> bytes:
    return payload + attachment.attachment(len(payload), text, LABELS, "tflite")


def flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]


def thresholds(**changes: float) -> dict[str, float]:
    return {"no_tumor": 0.85, "meningioma": 0.6, "glioma": 0.55, "pituitary": 0.55} | changes


@pytest.fixture
def whole(graph: Callable[[Format], bytes], card: falx.Card) -> bytes:
    """A TFLite model file."""
    return model_file.embed(graph("tflite"), card, format="tflite")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: whole[:-7], "has no card of Falx: the file is incomplete"),
        (lambda whole: whole[:500], "has no card of Falx: the file is incomplete"),
        (lambda whole: flipped(whole, 500), "the card belongs to weights with SHA-256 "),
        # The zip's own sum finds it first.
        (
            lambda whole: flipped(whole, whole.index(b"Tests.")),
            "has no card of Falx: the file is incomplete or damaged",
        ),
        (lambda _: b"model\n", "expected a TFLite or ONNX model, got text that starts with 'model"),
        (lambda _: b"", "expected a TFLite or ONNX model, got an empty file"),
        (lambda whole: model_file.extract(whole)[1], "has no card of Falx"),
        (
            lambda whole: attached(model_file.extract(whole)[1], b'{"labels": ["cat", "dog"]}'),
            "card: this JSON is not a card of Falx",
        ),
        (
            lambda whole: forged(whole, thresholds=thresholds(glioma=1.5)),
            "card: threshold of glioma must be in (0, 1], got 1.5",
        ),
        (
            lambda whole: forged(whole, thresholds=thresholds(no_tumor=0)),
            "card: threshold of no_tumor must be in (0, 1], got 0",
        ),
        (
            lambda whole: forged(whole, labels=["glioma", "meningioma", "no_tumor", "pituitary"]),
            "card: labels must be ('no_tumor', 'meningioma', 'glioma', 'pituitary'), got ('glioma',",
        ),
    ],
    ids=[
        "truncated",
        "truncated in the graph",
        "a bit of the graph",
        "a bit of the card",
        "text",
        "empty",
        "no card",
        "foreign card",
        "threshold above 1",
        "threshold of 0",
        "labels in another order",
    ],
)
def test_unusable_models(
    tmp_path: Path,
    whole: bytes,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(damage(whole))
    for command in (["predict", "x.png", "--model"], ["info"], ["check", "--model"]):
        assert main([*command, str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"falx: error: {path}: {message}")
        assert err.count("\n") == 1


def test_a_model_that_may_not_be_read(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: Path) -> bytes:
        # Simulated: to the user root, as whom tests may run, no file is forbidden.
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    for command in (["predict", "x.png", "--model"], ["info"], ["check", "--model"]):
        assert main([*command, str(model)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(
            f"falx: error: {model}: cannot read the model file: [Errno 13] Permission denied"
        )
        assert err.count("\n") == 1


NUMPY_1_ONLY = """
def Interpreter(**_):
    raise SystemError("returned a result with an exception set") from AttributeError("_ARRAY_API not found")
"""


@pytest.mark.parametrize(
    ("engine", "package", "content", "message"),
    [
        ("abacus", None, "", "unknown engine 'abacus'; known are litert, tflite, onnx"),
        (
            "onnx",
            None,
            "",
            "engine onnx runs onnx files, this one is tflite; use litert or tflite, "
            "or give the model as the .onnx file that falx_export wrote beside it",
        ),
        (
            "litert",
            "ai_edge_litert",
            "raise ImportError('no such module')",
            "engine litert needs ai-edge-litert, which cannot be imported (no such module): "
            "pip install ai-edge-litert",
        ),
        (
            "tflite",
            "tflite_runtime",
            "raise ImportError('no such module')",
            "engine tflite needs tflite-runtime, for Python up to 3.11 and NumPy 1, which cannot be imported "
            "(no such module): pip install 'falx[tflite]'",
        ),
        (
            "tflite",
            "tflite_runtime",
            NUMPY_1_ONLY,
            f"engine tflite does not work with NumPy {np.__version__} (_ARRAY_API not found): "
            "pip install 'numpy<2', or use engine litert",
        ),
    ],
    ids=["unknown", "other format", "no litert", "no tflite-runtime", "tflite-runtime beside NumPy 2"],
)
def test_unusable_engines(
    tmp_path: Path,
    whole: bytes,
    falx_process: Run,
    engine: str,
    package: str | None,
    content: str,
    message: str,
) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(whole)
    # Found before what is installed, so that it makes no difference what is.
    if package is not None:
        fake = tmp_path / "first" / package
        fake.mkdir(parents=True)
        (fake / "__init__.py").touch()
        (fake / "interpreter.py").write_text(content)
    before = os.pathsep.join([str(tmp_path / "first"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    for command in (["predict", "x.png"], ["check"]):
        done = falx_process(*command, "--model", path, "--engine", engine, PYTHONPATH=before)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"falx: error: {message}\n"


def test_an_image_that_may_not_be_read(
    model: Path, scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = scan.with_name("denied.png")
    denied.write_bytes(scan.read_bytes())
    looked = os.stat

    def deny(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if path == str(denied):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return looked(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", deny)
    assert main(["predict", str(denied), str(scan), "--json", "--model", str(model)]) == 1
    out, err = capsys.readouterr()
    first, second = lines(out)
    assert first["error"] == {
        "type": "ImageForbidden",
        "message": f"{denied}: permission to read it is denied",
    }
    assert list(second) == keys.PREDICTION
    assert err == ""


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
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    probabilities: list[float],
    decision: str,
) -> None:
    # As Youden's index chooses them: no label needs the half of all probability.
    chosen = falx.Thresholds(no_tumor=0.31, meningioma=0.2, glioma=0.4, pituitary=0.27)
    path = model_of(any_engine, thresholds=chosen)
    assert main(["info", str(path)]) == 0
    assert "no_tumor 0.31, meningioma 0.2, glioma 0.4, pituitary 0.27" in capsys.readouterr().out
    monkeypatch.setattr("falx.engines.pool.Pool.run", lambda *_: Inference(probabilities, None, None, None))
    assert main(["predict", str(scan), "--json", "--model", str(path)]) == 0
    (answer,) = lines(capsys.readouterr().out)
    assert answer["decision"] == decision
    assert answer["confidence"] == answer["probabilities"].get(decision)


def test_heatmaps(model: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other" / "scan.png"
    other.parent.mkdir()
    other.write_bytes(scan.read_bytes())
    out = tmp_path / "maps"
    arguments = ["predict", str(scan), str(other), "--model", str(model), "--heatmaps", str(out)]
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["scan-2.png", "scan.png"]
    with Image.open(out / "scan.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (256, 256))
    assert capsys.readouterr().out.splitlines()[-1] == f"2 heatmaps written to {out}."
    assert main(arguments) == 2
    assert "expected a new or empty folder, this one holds files" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["gone", "of another size"])
def test_a_slice_that_changes_before_its_heatmap_is_drawn_keeps_its_answer(
    model: Path,
    scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    first = tmp_path / "first.png"
    first.write_bytes(scan.read_bytes())
    real = Classifier.predict_many

    def then_changed(self: Classifier, *arguments: Any, **options: Any) -> Iterator[Any]:
        for result in real(self, *arguments, **options):
            if change == "gone":
                first.unlink(missing_ok=True)
            else:
                Image.new("L", (70, 70)).save(first)
            yield result

    monkeypatch.setattr(Classifier, "predict_many", then_changed)
    maps = tmp_path / "maps"
    command = ["predict", str(first), str(scan), "--json", "--model", str(model), "--heatmaps", str(maps)]
    assert main(command) == 1
    said = capsys.readouterr()
    assert [answer["decision"] for answer in lines(said.out)] == ["ambiguous", "ambiguous"]
    why = "no such file" if change == "gone" else "expected 256 x 256 pixels, got 70 x 70"
    assert said.err == (
        f"falx: warning: {first}: {why}: the file changed since it was classified, so there is no heatmap; "
        "classify it again\n"
    )
    assert [path.name for path in maps.iterdir()] == ["scan.png"]


def test_heatmaps_of_a_model_without(
    model: Path,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("falx.model.card.Card.has_heatmap", False)
    out = tmp_path / "maps"
    assert main(["predict", str(scan), "--model", str(model), "--heatmaps", str(out)]) == 2
    assert "--heatmaps: the model tiny makes no heatmaps" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_folders_and_workers(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(7):
        Image.fromarray(phantom.clear()).save(folder / f"{number}.png")
    assert main(["predict", str(folder), "--json", "--model", str(model), "--workers", workers]) == 0
    assert [Path(a["path"]).stem for a in lines(capsys.readouterr().out)] == list("0123456")


def test_info(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(model)]) == 0
    assert "tiny 1.2.3" in capsys.readouterr().out
    assert main(["info", str(model), "--json"]) == 0
    assert falx.Card.from_json(capsys.readouterr().out).name == "tiny"


def test_check(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["check", "--model", str(model), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["ok"] else 1)
    assert [step["name"] for step in report["steps"]] == ["file", "known inputs", "latency"]
    assert report["falx"] == falx.__version__
    assert report["model"] == falx.load(model).model.to_dict()
    main(["check", "--model", str(model)])
    out = capsys.readouterr().out
    assert "ok           file: tiny" in out
    assert "not checked  known inputs: this model's card stores no answers" in out
    assert DISCLAIMER in out


def test_check_fails_where_the_machine_is_slow(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.check.BUDGET_MS", 1e-6)
    assert main(["check", "--model", str(model)]) == 1
    assert "FAIL         latency" in capsys.readouterr().out


def test_demo(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pictures"
    assert main(["demo", "--model", str(model), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert [
        row.split()[0] for row in text.splitlines() if row.startswith(("clear", "lesion", "gradient"))
    ] == [
        "clear",
        "lesion",
        "gradient",
    ]
    assert "1 rejected" in text
    assert DISCLAIMER in text
    assert "falx predict YOUR_SLICE.png" in text.replace("\n", " ")
    names = ["clear-heatmap.png", "clear.png", "gradient.png", "lesion-heatmap.png", "lesion.png"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_version_and_help(falx_process: Run) -> None:
    assert falx_process("--version").stdout == f"falx {falx.__version__}\n"
    for command in ("predict", "info", "check", "demo", "retarget"):
        done = falx_process(command, "--help", COLUMNS="200")
        assert done.returncode == 0
        assert DISCLAIMER in done.stdout


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
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "falx", "predict", str(scan), "--model", str(model), *form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
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


def test_a_defect_is_one_line(
    model: Path, scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.slices.rejection.check", lambda *_: 1 // 0)
    assert main(["predict", str(scan), "--model", str(model)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("falx: error: ZeroDivisionError: ")
    assert "`python -X dev -m falx` with the same arguments shows where" in err


def test_warnings_are_a_line_on_standard_error(
    model: Path, scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("falx.classifier.caution", lambda *_: "slow here")
    assert main(["predict", str(scan), "--json", "--model", str(model)]) == 0
    assert capsys.readouterr().err == "falx: warning: slow here\n"


def test_names_that_are_no_text(model: Path, tmp_path: Path, falx_process: Run) -> None:
    (folder := tmp_path / "scans").mkdir()
    path = os.fsencode(folder) + b"/\xff\n.png"
    Path(os.fsdecode(path)).write_bytes(_png(np.zeros((9, 9), np.uint8)))
    for arguments in (["--json"], []):
        done = falx_process("predict", folder, "--model", model, *arguments)
        assert done.returncode == 0
        assert done.stderr == ""
        assert "\\n.png" in done.stdout


def test_a_process_of_its_own_leaves_the_collector_on_and_what_is_loaded_alone(
    scan: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr("gc.freeze", lambda: done.append("freeze"))
    assert main(["predict", str(scan), "--model", str(model)]) == 0
    assert done == []
    gc.disable()
    assert main(["predict", str(scan), "--model", str(model)]) == 0
    assert done == ["freeze"]
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
    assert [answer["path"] for answer in lines(out.read_text())] == [str(scan)]
    assert done.stdout.endswith(f"{DISCLAIMER}\n") is (closed == "2>&-")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a command; there are predict, study,"),
        (["predct", "x"], "unknown command 'predct'; there are predict, study,"),
        (["predct", "x"], ". Did you mean predict?"),
        (["help"], "completion. `falx --help` says what they do"),
        (["--versoin"], "unrecognized arguments: --versoin. Did you mean --version?"),
        (["predict", "x", "--jsn"], "unrecognized arguments: --jsn. Did you mean --json?"),
        (["study", "x", "--sheats=y"], "unrecognized arguments: --sheats=y. Did you mean --sheets?"),
        (["predict", "x", "--qqqqq"], "unrecognized arguments: --qqqqq\n"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "expected a model file, got a folder; give the .tflite or .onnx file in it"),
        ("a.keras", "is a model of Keras, which Falx does not run; export it first"),
        ("away/a.onnx", "no such model file: there is no folder "),
        ("a.onnx", "no such model file; give the path of a .tflite or .onnx file"),
    ],
)
def test_what_is_not_a_model_file_gets_its_sentence(
    model: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.keras").write_bytes(b"PK")
    assert main(["predict", "x.png", "--model", str(tmp_path / model)]) == 2
    assert message in capsys.readouterr().err


def test_a_message_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["predict", "x.png", "--model", "nothing-of-the-kind.tflite"]) == 2
    with pytest.raises(SystemExit):
        main(["predct"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "falx: error: nothing-of-the-kind.tflite: no such model file;",
        "give the path of a .tflite or .onnx file",
    ]
    assert max(map(len, lines)) <= 60


def test_what_a_line_has_told_is_not_told_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    (tmp_path / "notes.txt").write_text("words")
    inputs = [str(tmp_path / name) for name in ("absent.png", "notes.txt")]
    assert main(["predict", *inputs, "--model", str(model)]) == 1
    out = capsys.readouterr().out
    assert out.count("no such file") == 1
    # Cut short in the table, so told in whole.
    assert "error: expected PNG, JPEG, BMP, GIF, PPM, TIFF, WEBP," in out
    # Nothing was decided by them.
    assert "Thresholds" not in out


def test_nothing_is_downloaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "x.png", "--model", "https://models.example/a.onnx"]) == 2
    message = "https://models.example/a.onnx: is an address, and Falx downloads nothing; give a file\n"
    assert capsys.readouterr().err == f"falx: error: {message}"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_what_there_is(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    completion = pytest.importorskip("tools.completion", reason="shtab is not installed")
    assert main(["completion", shell]) == 0
    # The scripts are in the wheel; `python -m tools.completion` writes them anew.
    assert capsys.readouterr().out in completion.scripts().values()


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
