"""The files that can be saved say what the page says, and no more of the patient than they must."""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.app.conftest import Made, classified, lettered
from tests.pictures import encoded

from falx import phantom
from falx.app import downloads, fonts, fragments, pdf, texts
from falx.app.arrangement import arrange
from falx.app.colours import DARK
from falx.app.fragments import Patient, Saved
from falx.app.page_service import PageService
from falx.app.texts import KINDS, percent, perhaps
from falx.prediction import Failure
from falx.words import DISCLAIMER, LABELS

APP = Path(texts.__file__).parent
NAME = 'Zoë <b>"Ünal"</b> & =1+1'


@pytest.fixture(scope="session")
def saved(service: PageService) -> Saved:
    files = {
        "=1+1.png": encoded(phantom.clear()),
        "lesion.png": encoded(phantom.lesion()),
        "z <i>.png": b"no picture",
    }
    uploads = [classified(name, data, service) for name, data in files.items()]
    return Saved(arrange(uploads, one_patient=True), Patient(NAME, date(2026, 3, 4)), service)


@pytest.fixture(scope="session")
def stricter(saved: Saved) -> Saved:
    """The same with a threshold that the caller changed."""
    own = saved.service.classifier.card.thresholds
    return replace(saved, service=replace(saved.service, thresholds=replace(own, glioma=0.8)))


def test_html_escapes_what_visitors_give(saved: Saved) -> None:
    text = downloads.as_html(saved).decode()
    assert "Zoë &lt;b&gt;&#34;Ünal&#34;&lt;/b&gt; &amp; =1+1" in text
    assert "z &lt;i&gt;.png" in text
    assert '<b>"' not in text
    assert "2026-03-04" in text
    assert text.count("<h2") == 5  # the study, three slices, the model
    assert saved.service.classifier.model.sha256 in text


def test_csv_has_the_answers_and_no_formula(saved: Saved, dicom: Made) -> None:
    rows = list(csv.DictReader(io.StringIO(downloads.as_csv(saved).decode("utf-8-sig"))))
    assert [row["path"] for row in rows] == ["'=1+1.png", "lesion.png", "z <i>.png"]
    assert [(row["slice"], row["frame"]) for row in rows] == [("1", ""), ("2", ""), ("3", "")]
    shown = saved.arranged.shown
    assert [row["decision"] for row in rows] == [shown[0].decision, shown[1].decision, ""]
    result = shown[1].result
    assert not isinstance(result, Failure)
    assert result.probabilities is not None
    assert [float(rows[1][f"p_{label}"]) for label in LABELS] == list(result.probabilities.values())
    limits = [float(rows[1][f"threshold_{label}"]) for label in LABELS]
    assert limits == list(saved.service.thresholds.to_dict().values())
    assert rows[2]["error"].startswith("z <i>.png: expected PNG")
    frames = Saved(arrange([classified("scan.dcm", dicom.frames(), saved.service)]), Patient(), saved.service)
    rows = list(csv.DictReader(io.StringIO(downloads.as_csv(frames).decode("utf-8-sig"))))
    assert [(row["path"], row["frame"]) for row in rows] == [("scan.dcm", f"{n}") for n in (1, 2, 3)]


def test_json_is_falx_s(saved: Saved, service: PageService) -> None:
    (study,) = saved.arranged.studies
    assert json.loads(downloads.as_json(saved)) == study.to_dict()
    uploads = [classified(name, encoded(phantom.clear()), service) for name in ("a.png", "b.png")]
    for given in (uploads, uploads[:1]):
        apart = replace(saved, arranged=arrange(given))
        answers = [one.result.to_dict() for one in apart.arranged.shown]
        assert json.loads(downloads.as_json(apart)) == (answers if len(given) > 1 else answers[0])


def test_pdf_says_what_the_page_says(saved: Saved) -> None:
    written = text_of(pdf.make(saved))
    confidence = fragments.slice_statement(saved.arranged.shown[1]).confidence.replace("\xa0", " ")
    assert confidence.endswith(" confidence")
    for words in (NAME, "Glioma", "lesion.png, 256 × 256", confidence, DISCLAIMER, "Cannot be read"):
        assert words in written
    assert "Scan date: 2026-03-04." in written
    assert f"SHA-256 {saved.service.classifier.model.sha256}" in written


def test_a_pdf_has_no_empty_pages(service: PageService) -> None:
    small = np.asarray(lettered(np.asarray(Image.fromarray(phantom.lesion()).resize((120, 120)))))
    arranged = arrange(classified(f"{n}.png", encoded(small), service) for n in range(6))
    assert [len(one.cautions) for one in arranged.shown] == [2] * 6
    made = pdf.make(Saved(arranged, Patient(), service))
    assert len(re.findall(rb"/Type /Page\b", made)) == 5  # the table and a slice, five slices, the model


def test_thresholds_in_force_are_named_and_those_a_caller_changed_are_marked(
    saved: Saved, stricter: Saved
) -> None:
    own = percent(saved.service.classifier.card.thresholds.glioma)
    for plain, marked in (
        (text_of(pdf.make(saved)), text_of(pdf.make(stricter))),
        (downloads.as_html(saved).decode(), downloads.as_html(stricter).decode()),
    ):
        assert f"Glioma {own}, Pituitary" in plain.replace(" %", "\xa0%")
        assert "changed" not in plain
        told = marked.replace(" %", "\xa0%").replace("&#39;", "'")
        assert f"Glioma 80\xa0% (changed; the model's own is {own}), Pituitary" in told
    limits = fragments.limits(stricter.service.thresholds, saved.service.classifier.card.thresholds)
    shown = fragments.render("verdict.html:thresholds", limits=limits)
    assert shown.count('class="changed"') == 1


def test_a_pdf_has_names_in_other_scripts_where_a_font_has_them(saved: Saved) -> None:
    name = "Ольга Łuczak"
    if fonts.missing(name):
        pytest.skip("no font of this machine has Cyrillic letters")
    made = pdf.make(replace(saved, patient=Patient(name)))
    font = fonts.covering(name)[0]
    assert font.stem.replace("-", "").encode()[:6] in made.replace(b"-", b"")


def test_a_letter_that_no_font_has_is_named(saved: Saved, tmp_path: Path) -> None:
    expected = r"no font of this server has “Ж” \(U\+0416\): install one, such as Noto"
    with pytest.raises(fonts.FontUnavailable, match=expected):
        fonts.covering("Ж", (str(tmp_path),))
    assert pdf.missing(saved) == ""
    assert pdf.missing(replace(saved, patient=Patient("Zoë \U0010fffd"))) == "\U0010fffd"
    with pytest.raises(fonts.FontUnavailable):
        pdf.make(replace(saved, patient=Patient("\U0010fffd")))


def test_words() -> None:
    assert percent(0.976) == "98\xa0%"
    shares = {"no_tumor": 0.55, "meningioma": 0.14, "glioma": 0.28, "pituitary": 0.03}
    assert perhaps(shares) == "Perhaps no tumour (55\xa0%) or glioma (28\xa0%)."


def test_texts_stand_in_one_place() -> None:
    """A translation is one file: no words stand in templates, and the viewer has a text for each place."""
    for template in (*(APP / "templates").glob("*.html"), APP / "viewer.html"):
        markup = re.sub(
            r"<style>.*?</style>|\{[{%#].*?[#%}]\}|<[^>]*>", " ", template.read_text(), flags=re.S
        )
        assert re.findall(r"[A-Za-z]{2,}", markup) == ["Falx"] * (template.name == "header.html") + [
            "SHA"
        ] * (template.name == "report.html"), template.name
    asked = set(re.findall(r'data-(?:text|label)="(\w+)"', (APP / "viewer.html").read_text()))
    asked |= set(re.findall(r"data\.texts\.(\w+)", (APP / "viewer.js").read_text()))
    assert asked == set(texts.VIEWER)


def test_the_page_has_the_colours_of_the_page_of_the_example() -> None:
    example = Path(__file__).parents[2] / "examples" / "browser" / "style.css"
    (root,) = re.findall(r":root \{(.*?)\}", example.read_text(encoding="utf-8"), re.S)[:1]
    theirs = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", root))
    assert {name: DARK[name] for name in DARK if name in theirs} == {
        name: theirs[name] for name in DARK if name in theirs
    }
    assert {"ground", "text", *KINDS} <= {*theirs}


def text_of(document: bytes) -> str:
    """The text of a PDF that is written with the viewer's own letters."""
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
