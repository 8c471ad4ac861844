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
from tests.app.conftest import MAXIMUM_SLICES, Made, lettered

import falx
from falx import phantom
from falx.app import command, downloads, fonts, fragments, pdf, server
from falx.app.arrangement import Arrangement, arrange
from falx.app.colours import DARK, LIGHT
from falx.app.fonts import FontUnavailable
from falx.app.guard import MOST_DRAINED, Guard, Uploads
from falx.app.quality import CAUTIONS, LEAST_CONTRAST, LEAST_SIDE, look
from falx.app.saved import Patient, Saved
from falx.app.service import Service
from falx.app.texts import percent, perhaps
from falx.app.uploads import ShownSlice, Upload, given
from falx.prediction import Failure
from falx.slices.reasons import TAG_REASONS
from falx.words import DISCLAIMER, LABELS

APP = Path(command.__file__).parent
NAME = 'Zoë <b>"Ünal"</b> & =1+1'


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def saved(service: Service) -> Saved:
    files = {
        "=1+1.png": png(phantom.clear()),
        "lesion.png": png(phantom.lesion()),
        "z <i>.png": b"no picture",
    }
    arranged = arrange(answered(name, data, service) for name, data in files.items())
    return Saved(arranged.shown, arranged.study, Patient(NAME, date(2026, 3, 4)), service.classifier)


def answered(name: str, data: bytes, service: Service, room: int = MAXIMUM_SLICES) -> Upload:
    """A file, and its slices classified."""
    upload = given(name, data, service, room=room)
    while not upload.done:
        upload.answer(service.classifier)
    return upload


def only(name: str, data: bytes, service: Service) -> ShownSlice:
    (shown,) = answered(name, data, service).shown
    return shown


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
    def test_a_file_is_answered_as_falx_does(self, service: Service) -> None:
        shown = only("a.png", png(phantom.lesion()), service)
        expected = service.classifier.predict(png(phantom.lesion()))
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

    def test_a_large_picture_is_kept_no_larger_than_it_is_shown(self, service: Service) -> None:
        large = np.asarray(Image.fromarray(phantom.lesion()).resize((1600, 1600)))
        shown = only("a.png", png(large), service)
        assert shown.size == (1600, 1600)
        assert shown.pixels is not None
        assert shown.heatmap is not None
        assert shown.pixels.shape == shown.heatmap.shape == (768, 768)

    def test_a_picture_that_claims_too_many_pixels_is_not_decoded(self, service: Service) -> None:
        header = struct.pack(">IIBBBBB", 8000, 8000, 8, 0, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        # One block of the picture, so that the header can be read; decoding it would be an error.
        data = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1) + b"IDAT" + b"\x00" + b"\x00" * 4
        shown = only("bomb.png", data, service)
        expected = (
            "Too large to be a slice, so it was not decoded: 8000 x 8000 pixels, at most 4194304 are read."
        )
        assert shown.trouble == expected
        assert shown.decision == "error"

    def test_what_is_no_picture_is_said_without_the_size_of_the_file(self, service: Service) -> None:
        shown = only("note.txt", b"words", service)
        assert shown.trouble.startswith("Expected PNG, JPEG")
        assert shown.trouble.endswith("got text.")
        assert shown.result.to_dict()["error"]["message"].startswith("note.txt: expected PNG")


class TestDicom:
    def test_slices_stand_in_the_order_of_their_positions(self, dicom: Made, service: Service) -> None:
        arranged = arrange(answered(name, data, service) for name, data in dicom.series().items())
        assert [one.name for one in arranged.shown] == ["IM3", "IM2", "IM1"]
        assert arranged.study is not None
        assert [series.positions_mm for series in arranged.study.series] == [(0.0, 5.0, 10.0)]
        assert arranged.study.uid == "1.2.3"
        assert [one.about for one in arranged.shown[:1]] == ["IM3, 256 × 256, axial T1"]
        expected = service.classifier.predict_study(dicom.datasets())
        assert arranged.study.decision == expected.decision
        assert arranged.study.carriers == expected.carriers
        assert [one.to_dict()["series"] for one in (arranged.study, expected)] == 2 * [
            expected.to_dict()["series"]
        ]

    def test_each_frame_is_a_slice(self, dicom: Made, service: Service) -> None:
        upload = answered("scan.dcm", dicom.frames(), service)
        arranged = arrange([upload])
        assert [one.name for one in arranged.shown] == [f"scan.dcm, frame {n}" for n in (1, 2, 3)]
        assert [one.result.path for one in arranged.shown] == 3 * ["scan.dcm"]
        for one, pixels in zip(arranged.shown, dicom.pixels, strict=True):
            expected = service.classifier.predict(pixels)
            assert one.decision == expected.decision
            assert one.pixels is not None
            assert np.array_equal(one.pixels, pixels)
        assert arranged.study is not None
        saved = Saved(arranged.shown, arranged.study, Patient(), service.classifier)
        rows = list(csv.DictReader(io.StringIO(downloads.as_csv(saved).decode("utf-8-sig"))))
        assert [(row["path"], row["frame"]) for row in rows] == [("scan.dcm", f"{n}") for n in (1, 2, 3)]

    @pytest.mark.parametrize(
        ("tags", "code"),
        [
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}, "not_mr"),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
            ({"BurnedInAnnotation": "YES"}, "annotated"),
        ],
    )
    def test_what_its_tags_reject_is_rejected_with_the_reason(
        self, dicom: Made, service: Service, tags: dict[str, Any], code: str
    ) -> None:
        shown = only("a.dcm", dicom.file(phantom.clear(), **tags), service)
        assert shown.decision == "rejected"
        answer = fragments.answer(shown)
        assert answer.kind == "rejected"
        assert answer.notes[0].startswith(TAG_REASONS[code])
        assert (shown.pixels, shown.cautions, shown.trouble) == (None, (), "")
        saved = Saved((shown,), None, Patient(), service.classifier)
        assert TAG_REASONS[code] in downloads.as_html(saved).decode()
        assert downloads.as_pdf(saved).startswith(b"%PDF-")

    def test_series_are_told_apart(self, dicom: Made, service: Service) -> None:
        files = {"a.png": png(phantom.clear()), **dicom.series(), "b.png": png(phantom.clear())}
        arranged = arrange(answered(name, data, service) for name, data in files.items())
        assert arranged.study is not None
        rows = fragments.rows(arranged.shown, arranged.study)
        assert [(row.series, row.number, row.name) for row in rows] == [
            ("Series 1: axial T1, 3 slices", "1.1", "IM3"),
            ("", "1.2", "IM2"),
            ("", "1.3", "IM1"),
            ("Series 2: 2 slices", "2.1", "a.png"),
            ("", "2.2", "b.png"),
        ]
        saved = Saved(arranged.shown, arranged.study, Patient(), service.classifier)
        assert "Series 2: 2 slices" in text_of(downloads.as_pdf(saved))

    def test_the_same_object_twice_is_one_slice_and_said(self, dicom: Made, service: Service) -> None:
        data = dicom.series()["IM1"]
        arranged = arrange(answered(name, data, service) for name in ("a", "b"))
        assert [one.name for one in arranged.shown] == ["a"]
        assert arranged.study is not None
        answer = fragments.study_answer(arranged.study)
        assert answer.name == "Study of one slice"
        assert "1 slice left out: it is there twice." in answer.notes

    def test_slices_of_two_studies_come_to_nothing_together(self, dicom: Made, service: Service) -> None:
        files = {"a": dicom.file(phantom.clear()), "b": dicom.file(phantom.clear(), StudyInstanceUID="1.9")}
        arranged = arrange(answered(name, data, service) for name, data in files.items())
        assert [one.name for one in arranged.shown] == ["a", "b"]
        assert arranged.study is None
        assert arranged.trouble == "Expected one study, got 2; give each study by itself."
        assert fragments.trouble(arranged).notes[0] == arranged.trouble

    def test_a_study_comes_together_while_it_is_read(self, dicom: Made, service: Service) -> None:
        upload = given("scan.dcm", dicom.frames(), service, room=MAXIMUM_SLICES)
        assert arrange([upload]) == Arrangement()
        upload.answer(service.classifier)
        assert not upload.done
        assert [one.name for one in arrange([upload]).shown] == ["scan.dcm, frame 1"]

    def test_more_slices_than_allowed_are_not_read(self, dicom: Made, service: Service) -> None:
        (shown,) = answered("scan.dcm", dicom.frames(), service, room=2).shown
        assert shown.trouble == (
            f"Not read: at most {MAXIMUM_SLICES} slices are read at a time, and this file has 3."
        )

    def test_a_large_one_is_not_decoded(self, dicom: Made, service: Service) -> None:
        shown = only("a", dicom.file(phantom.clear(), Rows=9000, Columns=9000), service)
        expected = "Too large to be a slice, so it was not decoded: 9000 x 9000 pixels"
        assert shown.trouble.startswith(expected)

    def test_a_damaged_one_is_told_by_its_name(self, dicom: Made, service: Service) -> None:
        shown = only("a", dicom.file(phantom.clear())[:300], service)
        assert shown.decision == "error"
        assert shown.result.to_dict()["error"]["message"].startswith("a: ")


class TestReports:
    def test_html_escapes_what_visitors_give(self, saved: Saved) -> None:
        text = downloads.as_html(saved).decode()
        assert "Zoë &lt;b&gt;&#34;Ünal&#34;&lt;/b&gt; &amp; =1+1" in text
        assert "z &lt;i&gt;.png" in text
        assert '<b>"' not in text
        assert "2026-03-04" in text
        assert text.count("<h2") == 5  # the study, three slices, the model
        assert saved.classifier.model.sha256 in text

    def test_csv_has_the_answers_and_no_formula(self, saved: Saved) -> None:
        rows = list(csv.DictReader(io.StringIO(downloads.as_csv(saved).decode("utf-8-sig"))))
        assert [row["path"] for row in rows] == ["'=1+1.png", "lesion.png", "z <i>.png"]
        assert [(row["slice"], row["frame"]) for row in rows] == [("1", ""), ("2", ""), ("3", "")]
        assert [row["decision"] for row in rows[:2]] == [one.decision for one in saved.shown[:2]]
        assert rows[2]["decision"] == ""
        result = saved.shown[1].result
        assert not isinstance(result, Failure)
        assert result.probabilities is not None
        assert [float(rows[1][f"p_{label}"]) for label in LABELS] == list(result.probabilities.values())
        assert rows[2]["error"].startswith("z <i>.png: expected PNG")

    def test_json_of_a_study_is_falx_s(self, saved: Saved) -> None:
        import json

        assert saved.study is not None
        assert json.loads(downloads.as_json(saved)) == saved.study.to_dict()

    def test_pdf_says_what_the_page_says(self, saved: Saved) -> None:
        pytest.importorskip("fpdf", reason="fpdf2 is not installed")
        written = text_of(downloads.as_pdf(saved))
        confidence = fragments.answer(saved.shown[1]).confidence
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


class TestPalette:
    """The page, its paper and the page of examples/browser look like one thing: each colour has one value."""

    def test_of_the_page_is_that_of_the_example(self) -> None:
        example = Path(__file__).parents[2] / "examples" / "browser" / "style.css"
        ours, theirs = palette(APP / "style.css"), palette(example)
        assert ours == {name: theirs[name] for name in ours}
        assert {kind: ours["quiet" if kind == "none" else kind] for kind in DARK} == DARK
        theme = [
            server.THEME[name] for name in ("backgroundColor", "textColor", "primaryColor", "borderColor")
        ]
        assert theme == [ours[name] for name in ("ground", "text", "accent", "line")]

    def test_of_the_report_is_that_of_the_printed_page(self) -> None:
        printed = palette(APP / "style.css", (APP / "style.css").read_text().index("@media print"))
        report_s = palette(APP / "templates" / "report.css")
        assert report_s == {name: printed[name] for name in report_s}
        assert {kind: printed[kind] for kind in LIGHT} == LIGHT


def palette(path: Path, start: int = 0) -> dict[str, str]:
    """The colours that a style sheet names in its first `:root` from there."""
    (root,) = re.findall(r":root \{(.*?)\}", path.read_text(encoding="utf-8")[start:], re.S)[:1]
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", root))


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
        guard = Guard(accept, uploads=Uploads(2))
        path = "/falx/_stcore/upload_file/one/"
        assert [ask(guard, "PUT", f"{path}{file}") for file in "aab"] == [200, 200, 200]
        assert ask(guard, "PUT", f"{path}c") == 413
        assert ask(guard, "PUT", "/falx/_stcore/upload_file/other/c") == 200
        assert ask(guard, "DELETE", f"{path}a") == 200
        assert ask(guard, "PUT", f"{path}c") == 200

    def test_what_is_forgotten_counts_no_more(self) -> None:
        uploads = Uploads(2)
        assert [uploads.take("one", file) for file in "abc"] == [True, True, False]
        assert uploads.take("other", "c")
        uploads.forget("one")
        assert [uploads.take("one", file) for file in "cde"] == [True, True, False]
        assert [uploads.take("other", file) for file in "de"] == [True, False]

    def test_what_is_refused_is_answered_when_it_was_sent(self) -> None:
        # A browser that still sends when the connection is closed says "network error", not why.
        uploads = Uploads(1)
        uploads.take("one", "a")
        bodies = [{"type": "http.request", "body": bytes(2**20), "more_body": more} for more in (True, False)]
        scope = {"type": "http", "method": "PUT", "path": "/_stcore/upload_file/one/b", "headers": []}
        sent = run(Guard(accept, uploads=uploads), scope, bodies)
        assert (sent[0]["status"], bodies) == (413, [])
        endless = [{"type": "http.request", "body": bytes(MOST_DRAINED // 2), "more_body": True}] * 4
        sent = run(Guard(accept, uploads=uploads), scope, endless)
        assert (sent[0]["status"], len(endless)) == (413, 1)

    def test_an_origin_is_compared_with_the_host(self) -> None:
        guard = Guard(accept, uploads=Uploads(2))
        host = (b"host", b"falx.example:8443")
        assert ask(guard, "GET", "/", host, (b"origin", b"https://falx.example:8443")) == 200
        assert ask(guard, "GET", "/", host, (b"origin", b"https://falx.example")) == 403
        assert ask(guard, "GET", "/", host, (b"origin", b"null")) == 403

    def test_a_websocket_of_another_origin_is_closed(self) -> None:
        headers = [(b"host", b"localhost:8501"), (b"origin", b"http://elsewhere.example")]
        scope = {"type": "websocket", "path": "/_stcore/stream", "headers": headers}
        sent = run(Guard(accept, uploads=Uploads(2)), scope)
        assert sent == [{"type": "websocket.close", "code": 1008, "reason": "Forbidden"}]

    def test_streamlit_never_sees_the_origin(self) -> None:
        seen: list[Any] = []

        async def look_at(scope: Any, receive: Any, send: Any) -> None:
            seen.extend(scope["headers"])

        headers = [(b"host", b"falx.example"), (b"origin", b"https://falx.example")]
        run(Guard(look_at, uploads=Uploads(2)), {"type": "websocket", "path": "/", "headers": headers})
        assert seen == [(b"host", b"falx.example")]


async def accept(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def run(
    guard: Guard, scope: MutableMapping[str, Any], messages: list[dict[str, Any]] | None = None
) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"} if messages is None else messages.pop(0)

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
    code += f"from falx.command.main import main; sys.exit(main(['app', *{list(options)!r}]))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
