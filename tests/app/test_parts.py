"""The parts of the page that need no browser."""

from __future__ import annotations

import argparse
import csv
import io
import re
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.app.conftest import lettered

import falx
from falx import phantom
from falx.app import command, fonts, fragments, pdf, report, slices
from falx.app.guard import Guard
from falx.app.quality import CAUTIONS, LEAST_CONTRAST, LEAST_SIDE, look
from falx.app.report import Patient, Saved
from falx.app.settings import Settings
from falx.app.words import percent, perhaps
from falx.errors import FontUnavailable
from falx.prediction import Failure
from falx.study import Series, sum_up
from falx.words import DISCLAIMER, LABELS

NAME = 'Zoë <b>"Ünal"</b> & =1+1'


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def saved(settings: Settings) -> Saved:
    given = {"lesion.png": png(phantom.lesion()), "=1+1.png": png(phantom.clear()), "<i>.png": b"no picture"}
    shown = tuple(slices.answer(name, data, settings) for name, data in given.items())
    study = sum_up([Series(results=tuple(one.result for one in shown))])
    return Saved(shown, study, Patient(NAME, date(2026, 3, 4)), settings.classifier)


class TestQuality:
    def test_a_good_slice_has_no_caution(self) -> None:
        assert look(phantom.clear()) == look(phantom.lesion()) == ()

    def test_small(self) -> None:
        found = look(np.asarray(Image.fromarray(phantom.clear()).resize((128, 128))))
        assert [caution.code for caution in found] == ["small"]
        assert found[0].message == f"{CAUTIONS['small']} It is 105 pixels across, {LEAST_SIDE} are wanted."

    def test_low_contrast(self) -> None:
        found = look((phantom.clear() * (0.8 * LEAST_CONTRAST / 255)).astype(np.uint8))
        assert [caution.code for caution in found] == ["low_contrast"]
        assert f"of 255, {LEAST_CONTRAST} are wanted." in found[0].message

    @pytest.mark.parametrize("side", [256, 512, 1024])
    def test_letters(self, side: int) -> None:
        pixels = np.asarray(Image.fromarray(phantom.clear()).resize((side, side)))
        assert look(pixels) == ()
        assert [caution.code for caution in look(np.asarray(lettered(pixels)))] == ["marks"]


class TestSlices:
    def test_a_file_is_answered_as_falx_does(self, settings: Settings) -> None:
        shown = slices.answer("a.png", png(phantom.lesion()), settings)
        expected = settings.classifier.predict(png(phantom.lesion()))
        assert not isinstance(shown.result, Failure)
        assert shown.result.path == "a.png"
        assert shown.result.probabilities == expected.probabilities
        assert shown.size == (256, 256)
        assert shown.pixels is not None
        assert shown.heatmap is not None
        assert expected.heatmap is not None
        assert np.array_equal(shown.pixels, phantom.lesion())
        assert np.array_equal(shown.heatmap, expected.heatmap)
        assert expected.probabilities is not None
        assert shown.evidence == pytest.approx(1 - expected.probabilities["no_tumor"], abs=1e-3)

    def test_a_large_picture_is_kept_no_larger_than_it_is_shown(self, settings: Settings) -> None:
        large = np.asarray(Image.fromarray(phantom.lesion()).resize((1600, 1600)))
        shown = slices.answer("a.png", png(large), settings)
        assert shown.size == (1600, 1600)
        assert shown.pixels is not None
        assert shown.heatmap is not None
        assert shown.pixels.shape == shown.heatmap.shape == (768, 768)

    def test_a_picture_that_claims_too_many_pixels_is_not_decoded(self, settings: Settings) -> None:
        header = struct.pack(">IIBBBBB", 8000, 8000, 8, 0, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        # One block of the picture, so that the header can be read; decoding it would be an error.
        data = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1) + b"IDAT" + b"\x00" + b"\x00" * 4
        shown = slices.answer("bomb.png", data, settings)
        expected = "Too large, so it was not decoded: 8000 × 8000 pixels, and 4,194,304 are read at most."
        assert shown.trouble == expected
        assert shown.decision == "error"

    def test_a_dicom_that_claims_too_many_pixels_is_not_decoded(self, settings: Settings) -> None:
        pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.Rows = dataset.Columns = 9000
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        shown = slices.answer("a", stream.getvalue(), settings)
        assert shown.trouble.startswith("Too large, so it was not decoded: 9000 × 9000 pixels")

    def test_what_is_no_picture_is_said_without_the_size_of_the_file(self, settings: Settings) -> None:
        shown = slices.answer("note.txt", b"words", settings)
        assert shown.trouble.startswith("Expected PNG, JPEG")
        assert shown.trouble.endswith("got text.")
        assert shown.result.to_dict()["error"]["message"].startswith("note.txt: expected PNG")


class TestReports:
    def test_html_escapes_what_visitors_give(self, saved: Saved) -> None:
        text = report.as_html(saved).decode()
        assert "Zoë &lt;b&gt;&#34;Ünal&#34;&lt;/b&gt; &amp; =1+1" in text
        assert "&lt;i&gt;.png" in text
        assert '<b>"' not in text
        assert "2026-03-04" in text
        assert text.count("<h2") == 5  # the study, three slices, the model
        assert saved.classifier.model.sha256 in text

    def test_csv_has_the_answers_and_no_formula(self, saved: Saved) -> None:
        rows = list(csv.DictReader(io.StringIO(report.as_csv(saved).decode("utf-8-sig"))))
        assert [row["path"] for row in rows] == ["lesion.png", "'=1+1.png", "<i>.png"]
        assert [row["decision"] for row in rows[:2]] == [one.decision for one in saved.shown[:2]]
        assert rows[2]["decision"] == ""
        result = saved.shown[0].result
        assert not isinstance(result, Failure)
        assert result.probabilities is not None
        assert [float(rows[0][f"p_{label}"]) for label in LABELS] == list(result.probabilities.values())
        assert rows[2]["error"].startswith("<i>.png: expected PNG")

    def test_json_of_a_study_is_falx_s(self, saved: Saved) -> None:
        import json

        assert saved.study is not None
        assert json.loads(report.as_json(saved)) == saved.study.to_dict()

    def test_pdf_says_what_the_page_says(self, saved: Saved) -> None:
        pytest.importorskip("fpdf", reason="fpdf2 is not installed")
        written = text_of(report.as_pdf(saved))
        confidence = fragments.answer(saved.shown[0]).confidence
        assert confidence.endswith(" confidence")
        for words in (NAME, "Glioma", "lesion.png, 256 × 256", confidence, DISCLAIMER):
            assert words in written
        assert "Scan date: 2026-03-04." in written
        assert f"SHA-256 {saved.classifier.model.sha256}" in written
        assert "Cannot be read" in written

    def test_pdf_has_names_in_other_scripts_where_a_font_has_them(self, saved: Saved) -> None:
        pytest.importorskip("fpdf", reason="fpdf2 is not installed")
        name = "Ольга Łuczak"
        try:
            (font, *_) = fonts.covering(name)
        except FontUnavailable:
            pytest.skip("no font of this machine has Cyrillic letters")
        made = pdf.make(Saved(saved.shown, saved.study, Patient(name), saved.classifier))
        assert font.path.stem.replace("-", "").encode()[:6] in made.replace(b"-", b"")

    def test_a_letter_that_no_font_has_is_named(self, saved: Saved, tmp_path: Path) -> None:
        pytest.importorskip("fontTools", reason="fontTools is not installed")
        with pytest.raises(
            FontUnavailable, match="no font of this server has 'Ж': install one, such as Noto"
        ):
            fonts.covering("Ж", (str(tmp_path),))
        unknown = Saved(saved.shown, saved.study, Patient("\U0010fffd"), saved.classifier)
        assert pdf.missing(unknown).startswith("no font of this server has '\\U0010fffd'")
        assert pdf.missing(saved) == ""

    def test_words(self) -> None:
        assert percent(0.976) == "98\xa0%"
        shares = {"no_tumor": 0.55, "meningioma": 0.14, "glioma": 0.28, "pituitary": 0.03}
        assert perhaps(shares) == "Perhaps no tumour (55\xa0%) or glioma (28\xa0%)."


def text_of(document: bytes) -> str:
    """What is written in a PDF with the viewer's own letters."""
    written = []
    for stream in re.findall(rb"stream\r?\n(.*?)\nendstream", document, re.S):
        try:
            # A line's end may be the stream's last byte, or stand behind it.
            content = zlib.decompressobj().decompress(stream)
        except zlib.error:
            continue
        texts = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", content, re.S)
        written += [re.sub(rb"\\(.)", rb"\1", text).decode("cp1252") for text in texts]
    return " ".join(written)


class TestGuard:
    def test_counts_the_uploads_of_a_session(self) -> None:
        guard = Guard(accept, maximum_files=2)
        path = "/falx/_stcore/upload_file/one/"
        assert [ask(guard, "PUT", f"{path}{file}") for file in "aab"] == [200, 200, 200]
        assert ask(guard, "PUT", f"{path}c") == 413
        assert ask(guard, "PUT", "/falx/_stcore/upload_file/other/c") == 200
        assert ask(guard, "DELETE", f"{path}a") == 200
        assert ask(guard, "PUT", f"{path}c") == 200

    def test_an_origin_is_compared_with_the_host(self) -> None:
        guard = Guard(accept, maximum_files=2)
        host = (b"host", b"falx.example:8443")
        assert ask(guard, "GET", "/", host, (b"origin", b"https://falx.example:8443")) == 200
        assert ask(guard, "GET", "/", host, (b"origin", b"https://falx.example")) == 403
        assert ask(guard, "GET", "/", host, (b"origin", b"null")) == 403

    def test_a_websocket_of_another_origin_is_closed(self) -> None:
        headers = [(b"host", b"localhost:8501"), (b"origin", b"http://elsewhere.example")]
        scope = {"type": "websocket", "path": "/_stcore/stream", "headers": headers}
        sent = run(Guard(accept, maximum_files=2), scope)
        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "Forbidden"}]

    def test_streamlit_never_sees_the_origin(self) -> None:
        seen: list[Any] = []

        async def look_at(scope: Any, receive: Any, send: Any) -> None:
            seen.extend(scope["headers"])

        headers = [(b"host", b"falx.example"), (b"origin", b"https://falx.example")]
        run(Guard(look_at, maximum_files=2), {"type": "websocket", "path": "/", "headers": headers})
        assert seen == [(b"host", b"falx.example")]


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def run(guard: Guard, scope: MutableMapping[str, Any]) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    # Nothing here waits, so it needs no event loop; Playwright's is running in this thread.
    with pytest.raises(StopIteration):
        guard(scope, receive, send).send(None)
    return sent


def ask(guard: Guard, method: str, path: str, *headers: tuple[bytes, bytes]) -> int:
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    return int(run(guard, scope)[0]["status"])


class TestCommand:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--port", "0"], "expected a port, 1 to 65535, got '0'"),
            (["--port", "x"], "expected a port, 1 to 65535, got 'x'"),
            (["--base-path", "a b"], "expected a path such as /falx, got 'a b'"),
            (["--max-files", "0"], "expected a whole number from 1, got '0'"),
        ],
    )
    def test_says_what_an_option_must_be(
        self, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parser = argparse.ArgumentParser()
        command.add_options(parser)
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(options)
        assert words in capsys.readouterr().err

    def test_listens_to_this_machine_unless_told_otherwise(self) -> None:
        parser = argparse.ArgumentParser()
        command.add_options(parser)
        assert parser.parse_args([]).address == "127.0.0.1"
        assert parser.parse_args(["--base-path", "/falx/"]).base_path == "falx"

    def test_a_port_in_use_is_told_as_such(self) -> None:
        pytest.importorskip("streamlit", reason="streamlit is not installed: pip install 'falx[app]'")
        with taken() as port:
            done = app("--port", str(port), "--no-browser")
        assert done.returncode == 2
        assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in done.stderr
        assert "give another with --address or --port" in done.stderr

    def test_what_is_not_installed_is_named(self) -> None:
        done = app("--no-browser", without="streamlit")
        assert done.returncode == 2
        assert "the page needs streamlit, which is not installed: pip install 'falx[app]'" in done.stderr


@contextmanager
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def app(*options: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run `falx app`, where it must not start; a package can be made to be missing."""
    code = f"import sys; sys.modules[{without!r}] = None; " if without else "import sys; "
    code += f"sys.path[:0] = {[str(Path(falx.__file__).parents[1])]!r}; "
    code += f"from falx.cli import main; sys.exit(main(['app', *{list(options)!r}]))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
