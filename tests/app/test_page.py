"""The page in Chromium: it says what Falx says, to each visitor their own, and keeps nothing."""

from __future__ import annotations

import base64
import io
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tests.app.conftest import (
    MAXIMUM_FILES,
    PATIENT,
    Made,
    Served,
    document,
    downloaded,
    drawn_whole,
    forgotten,
    give,
    next_patient,
    own,
    visit,
)
from tests.browsing import SERIOUS, violations

import falx
from falx import phantom
from falx.app.guard import HEADERS
from falx.app.texts import BAND_MEANINGS, NAMES
from falx.pictures.overlay import overlay
from falx.slices.reasons import REASONS, TAG_REASONS
from falx.study import Series, sum_up
from falx.words import DISCLAIMER

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Files = dict[str, Path]


class TestOneSlice:
    def test_says_what_falx_says(self, page: Page, files: Files, classifier: falx.Classifier) -> None:
        expected = classifier.predict(files["lesion.png"])
        give(page, files["lesion.png"])
        said = page.locator(".st-key-answer").inner_text()
        assert expected.confidence is not None
        assert expected.band is not None
        for words in (
            NAMES[expected.decision],
            f"{expected.confidence:.0%}, {expected.band} confidence".replace("%", "\xa0%"),
            BAND_MEANINGS[expected.band],
            expected.recommendation,
            f"Model {classifier.card.name} {classifier.card.version}; thresholds no tumour "
            f"{classifier.card.thresholds.no_tumor:.2f}",
        ):
            assert words in said
        assert page.locator(".st-key-answer .verdict").get_attribute("data-kind") == "tumor"
        rows = page.locator(".probabilities tbody tr").all_inner_texts()
        assert expected.probabilities is not None
        assert [re.split(r"\s*\t\s*|\n", row)[0] for row in rows] == [
            NAMES[label] for label in expected.probabilities
        ]
        for row, (label, share) in zip(rows, expected.probabilities.items(), strict=True):
            assert re.findall(r"\d+", row) == [
                f"{100 * share:.0f}",
                f"{100 * classifier.card.thresholds[label]:.0f}",
            ]

    def test_the_heatmap_is_falx_s_and_can_be_switched_off(
        self, page: Page, files: Files, classifier: falx.Classifier
    ) -> None:
        give(page, files["lesion.png"])
        heatmap = classifier.predict(phantom.lesion()).heatmap
        assert heatmap is not None
        assert np.array_equal(drawn(page), np.asarray(overlay(phantom.lesion(), heatmap)))
        mapped = source(page)
        words = page.locator(".screen img").get_attribute("alt")
        assert words is not None
        assert "The heatmap is highest," in words
        # By keyboard: the switch has the focus, and is seen to.
        switch = page.get_by_role("switch", name="Heatmap")
        switch.focus()
        page.keyboard.press("Space")
        changed(page, mapped)
        assert np.array_equal(drawn(page)[..., 0], phantom.lesion())
        assert page.locator(".screen img").get_attribute("alt") == "The slice, 256 by 256 pixels."

    @pytest.mark.parametrize(
        ("name", "decision", "words"),
        [
            ("gradient.png", "rejected", REASONS["no_head"]),
            ("between.tiff", "ambiguous", "Perhaps "),
            ("broken <b>*x*<_b>.png", "error", "Expected PNG, JPEG, BMP, GIF, PPM, TIFF"),
        ],
    )
    def test_other_answers_have_a_sign_and_words(
        self, page: Page, files: Files, name: str, decision: str, words: str
    ) -> None:
        give(page, files[name])
        verdict = page.locator(".st-key-answer .verdict")
        assert verdict.get_attribute("data-kind") == decision
        assert verdict.get_by_role("heading", name=NAMES[decision]).count() == 1
        assert name in verdict.inner_text()
        assert words in verdict.inner_text()
        assert verdict.locator("img.sign").evaluate("image => image.naturalWidth") > 0

    def test_says_what_in_the_picture_limits_the_answer(self, page: Page, files: Files) -> None:
        give(page, files["small.bmp"])
        caution = page.locator(".caution").inner_text()
        assert "The head is small in this picture" in caution
        assert "It is 74 pixels across" in caution

    def test_prints(self, page: Page, files: Files) -> None:
        give(page, files["lesion.png"])
        assert page.pdf(format="A4").startswith(b"%PDF-")
        page.emulate_media(media="print")
        for seen in (".st-key-answer .decision", ".screen img", ".st-key-disclaimer", ".st-key-patient"):
            assert page.locator(seen).is_visible(), seen
        for hidden in ('[data-testid="stFileUploader"]', ".st-key-save", ".st-key-tools"):
            assert page.locator(hidden).is_hidden(), hidden
        assert page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor") == (
            "rgb(255, 255, 255)"
        )


class TestStudy:
    def test_ten_slices_come_to_falx_s_answer(
        self, page: Page, files: Files, classifier: falx.Classifier
    ) -> None:
        names = [f"slice_{number}.png" for number in range(1, 11)]
        results = [classifier.predict(files[name]) for name in names]
        study = sum_up([Series(results=tuple(results))])
        give(page, *(files[name] for name in names))
        said = page.locator(".st-key-study .verdict").inner_text()
        assert study.decision == "tumor"
        assert "Tumour: glioma" in said
        assert study.reason in said
        assert study.recommendation in said
        page.get_by_text("All slices in a table").click()
        rows = page.locator(".slices tbody tr")
        # In the order of their numbers, not of their letters.
        assert rows.locator(".file").all_inner_texts() == names
        cells = rows.locator(".said").all_inner_texts()
        assert all(NAMES[one.decision] in text for one, text in zip(results, cells, strict=True))
        carrying = [i for i in range(10) if rows.nth(i).locator(".carrier").count()]
        assert carrying == list(study.carriers)
        # The slice that the study names as the surest is shown first.
        surest = max(study.carriers, key=lambda index: results[index].confidence or 0)
        assert f"most surely in slice {surest + 1} of 10" in study.reason
        assert names[surest] in page.locator(".st-key-answer .name").inner_text()

    def test_a_broken_file_is_a_message_and_the_others_answer(
        self, page: Page, files: Files, classifier: falx.Classifier
    ) -> None:
        share = classifier.predict(files["lesion.png"]).confidence
        assert share is not None
        give(page, files["lesion.png"], files["broken <b>*x*<_b>.png"], files["gradient.png"])
        page.get_by_role("radio").nth(2).wait_for(state="attached")
        listed = [text.replace("\xa0", " ") for text in page.locator(".st-key-list label").all_inner_texts()]
        assert [" ".join(text.split()) for text in listed if "·" in text] == [
            "1 · ! Cannot be read · broken <b>*x*<_b>.png",
            "2 · ⊘ Rejected · gradient.png",
            f"3 · ◆ Glioma, {share:.0%} · lesion.png".replace("%", " %"),
        ]
        # By keyboard, from the one that is chosen.
        page.get_by_role("radio").nth(2).focus()
        page.keyboard.press("ArrowDown")
        page.locator('.st-key-answer .verdict[data-kind="error"]').wait_for()
        assert "Expected PNG, JPEG" in page.locator(".st-key-answer").inner_text()

    def test_dicom_is_put_in_order_and_what_is_no_mr_slice_is_rejected(
        self, page: Page, dicom: Made, tmp_path: Path
    ) -> None:
        scan = {**dicom.series(), "ct.dcm": dicom.file(phantom.clear(), Modality="CT")}
        for name, data in {**scan, "frames": dicom.frames(SeriesInstanceUID="1.2.3.5")}.items():
            (tmp_path / name).write_bytes(data)
        give(page, *(tmp_path / name for name in (*scan, "frames")), slices=7)
        page.get_by_text("All slices in a table").click()
        table = page.locator(".slices tbody")
        assert [text.strip() for text in table.locator("tr.series").all_inner_texts()] == [
            "Series 1: 1 slice",
            "Series 2: 3 slices",
            "Series 3: axial T1, 3 slices",
        ]
        frames = [f"frames, frame {number}" for number in (1, 2, 3)]
        assert table.locator(".file").all_inner_texts() == ["ct.dcm", *frames, "IM3", "IM2", "IM1"]
        assert TAG_REASONS["not_mr"] in table.locator(".said").nth(0).inner_text()
        shown = page.locator(".st-key-answer")
        assert "256 × 256" in shown.locator(".name").inner_text()
        page.locator(".st-key-list label", has_text="ct.dcm").click()
        rejected = shown.locator('.verdict[data-kind="rejected"]')
        rejected.wait_for()
        assert TAG_REASONS["not_mr"] in rejected.inner_text()
        assert "Not shown: its tags say" in page.locator(".screen").inner_text()
        # A slice of another study: nothing is said of both together, and nothing saved.
        (tmp_path / "other.dcm").write_bytes(dicom.file(phantom.clear(), StudyInstanceUID="1.2.9"))
        page.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(tmp_path / "other.dcm")
        page.get_by_text("Expected one study, got 2; give each study by itself.").wait_for()
        page.locator(".st-key-save").get_by_role("button", name="PDF").wait_for(state="detached")
        assert page.get_by_role("button", name="CSV").count() == 0

    def test_more_files_than_allowed_are_refused(self, page: Page, files: Files) -> None:
        paths = [files[f"slice_{number}.png"] for number in range(1, 11)]
        paths += [files["lesion.png"], files["clear.tiff"], files["gradient.png"]]
        assert len(paths) == MAXIMUM_FILES + 1
        page.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(paths)
        page.locator(f"text=Study of {MAXIMUM_FILES} slices").wait_for()
        page.locator('[data-testid="stFileChips"]').get_by_text("413").first.wait_for()

    def test_the_next_patient_finds_nothing(self, page: Page, files: Files) -> None:
        page.get_by_label("Patient (optional)").fill(PATIENT)
        page.keyboard.press("Enter")
        give(page, files["lesion.png"], files["gradient.png"])
        next_patient(page)
        assert page.get_by_label("Patient (optional)").input_value() == ""
        assert page.locator('[data-testid="stFileChip"]').count() == 0
        # What the patients before had given does not count against this one.
        give(page, *(files[f"slice_{number}.png"] for number in range(1, 11)))
        next_patient(page)
        assert page.locator(".st-key-study .verdict").count() == 0


class TestReports:
    def test_are_saved_with_the_patient_where_people_read_them(
        self, page: Page, files: Files, classifier: falx.Classifier
    ) -> None:
        page.get_by_label("Patient (optional)").fill(PATIENT)
        page.keyboard.press("Enter")
        give(page, files["lesion.png"])
        name, html = downloaded(page, "Page")
        assert name == "falx-report.html"
        text = html.decode()
        assert faults(page, html) == []
        assert PATIENT in text
        assert DISCLAIMER in text
        assert re.findall(r'(?:src|href)="(?!data:)[^"]*"|url\(|<script', text) == []
        name, pdf = downloaded(page, "PDF")
        assert name == "falx-report.pdf"
        assert pdf.startswith(b"%PDF-")
        name, content = downloaded(page, "JSON")
        assert name == "falx-results.json"
        answer = document(content)
        expected = classifier.predict(files["lesion.png"]).to_dict()
        assert {**answer, "elapsed_ms": 0} == {**expected, "path": "lesion.png", "elapsed_ms": 0}
        name, content = downloaded(page, "CSV")
        assert name == "falx-results.csv"
        assert content.decode("utf-8-sig").splitlines()[1].startswith("lesion.png,,1,glioma,0.")
        assert PATIENT not in content.decode("utf-8-sig")


class TestPrivacy:
    def test_two_visitors_see_their_own(
        self, page: Page, browser: Browser, served: Served, files: Files
    ) -> None:
        with own(browser) as context:
            visitor = visit(context, served)
            other = visitor.page
            page.get_by_label("Patient (optional)").fill(PATIENT)
            page.keyboard.press("Enter")
            page.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(files["lesion.png"])
            other.locator('[data-testid="stFileUploaderDropzoneInput"]').set_input_files(
                files["gradient.png"]
            )
            page.locator('.st-key-answer [data-kind="tumor"]').wait_for()
            other.locator('.st-key-answer [data-kind="rejected"]').wait_for()
            assert "lesion.png" not in other.content()
            assert PATIENT not in other.content()
            assert other.get_by_label("Patient (optional)").input_value() == ""
            assert "gradient.png" not in page.content()
            visitor.check()

    def test_the_slice_has_no_address(self, page: Page, files: Files) -> None:
        give(page, files["lesion.png"])
        addresses = page.evaluate("[...document.images].map(image => image.src.slice(0, 11))")
        assert set(addresses) <= {"data:image/"}

    def test_nothing_is_written_nor_sent(self, page: Page, served: Served, files: Files) -> None:
        # Larger than what a server would hold in memory unasked.
        assert files["large.png"].stat().st_size > 2 * 1024 * 1024
        page.get_by_label("Patient (optional)").fill(PATIENT)
        page.keyboard.press("Enter")
        give(page, files["large.png"])
        downloaded(page, "PDF")
        assert page.url == f"{served.url}/"
        notes = served.notes.read_text().splitlines()
        assert [note for note in notes if not note.startswith("socket")] == []
        assert [note for note in notes if "127.0.0.1" not in note and "localhost" not in note] == []
        own = (served.url, served.url.replace("http", "ws"), "data:", "blob:")
        assert [url for url in served.requests if not url.startswith(own)] == []
        everything = served.log.read_text() + "".join(served.requests)
        assert [name for name in (*files, PATIENT) if name in everything] == []

    def test_headers_keep_the_page_to_itself(self, served: Served) -> None:
        assert served.log.read_text().startswith(f"Falx is at {served.url}; Ctrl+C ends it.\n{DISCLAIMER}\n")
        with urllib.request.urlopen(served.url) as response:  # noqa: S310 - http, on this machine
            headers = {name.lower(): value for name, value in response.headers.items()}
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert headers["cache-control"] == "no-store"
        foreign = urllib.request.Request(served.url, headers={"Origin": "http://elsewhere.example"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(foreign)  # noqa: S310
        refused.value.close()


class TestForEveryone:
    def test_works_by_keyboard(self, page: Page, files: Files) -> None:
        # From now on Playwright, not Chromium, opens what chooses files.
        page.on("filechooser", lambda _: None)
        tab_to(page, "Upload")
        with page.expect_file_chooser() as choice:
            page.keyboard.press("Enter")
        choice.value.set_files([files["lesion.png"], files["gradient.png"]])
        page.locator("text=Study of 2 slices").wait_for()
        page.get_by_role("button", name="CSV").first.wait_for()
        drawn_whole(page)
        tab_to(page, "lesion.png", 'closest("label")')
        page.keyboard.press("ArrowUp")
        page.locator('.st-key-answer [data-kind="rejected"]').wait_for()
        drawn_whole(page)
        page.keyboard.press("ArrowDown")
        page.locator('.st-key-answer [data-kind="tumor"]').wait_for()
        drawn_whole(page)
        mapped = source(page)
        tab_to(page, "Opacity")
        page.keyboard.press("End")
        changed(page, mapped)
        drawn_whole(page)
        tab_to(page, "PDF")
        with page.expect_download() as waiting:
            page.keyboard.press("Enter")
        assert waiting.value.suggested_filename == "falx-report.pdf"
        tab_to(page, "Next patient")
        page.keyboard.press("Space")
        forgotten(page)

    def test_axe_finds_no_serious_fault(self, page: Page, files: Files) -> None:
        assert violations(page, SERIOUS) == []
        page.get_by_text("How Falx decides").click()
        give(page, files["lesion.png"])
        assert violations(page, SERIOUS) == []
        give(page, files["small.bmp"], files["gradient.png"], files["broken <b>*x*<_b>.png"], before=1)
        page.get_by_text("All slices in a table").click()
        page.locator(".slices").wait_for()
        assert violations(page, SERIOUS) == []

    @pytest.mark.parametrize("size", [(1280, 800), (820, 1180)])
    def test_the_disclaimer_stays_in_view(self, page: Page, files: Files, size: tuple[int, int]) -> None:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        give(page, files["lesion.png"], files["gradient.png"])
        assert page.locator(".st-key-disclaimer").inner_text().strip() == DISCLAIMER
        tops = []
        for place in (0, 100_000):
            page.evaluate(f"document.querySelector('[data-testid=stMain]').scrollTo(0, {place})")
            box = page.locator(".st-key-disclaimer").bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= size[1]
            tops.append(box["y"])
        assert min(tops) > size[1] / 2
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        # Nothing at the end of the page is hidden behind it.
        end = page.locator(".st-key-answer .model").bounding_box()
        assert end is not None
        assert end["y"] + end["height"] <= tops[1]


def tab_to(page: Page, name: str, of: str = "") -> None:
    """Press Tab until what has the focus is called so."""
    called = f"(document.activeElement{'?.' + of if of else ''})"
    for _ in range(60):
        page.keyboard.press("Tab")
        words = page.evaluate(f"{called}?.getAttribute?.('aria-label') || {called}?.innerText || ''")
        if name in words and page.evaluate("!['BODY', 'MAIN'].includes(document.activeElement.tagName)"):
            return
    raise AssertionError(f"Tab never comes to {name}")


def faults(page: Page, html: bytes) -> list[str]:
    """What axe finds wrong, serious or not, on a page that was saved."""
    saved = page.context.new_page()
    saved.set_content(html.decode())
    found = violations(saved)
    saved.close()
    return found


def source(page: Page) -> str:
    address = page.locator(".screen img").get_attribute("src")
    assert address is not None
    return address


def changed(page: Page, before: str) -> None:
    until = time.monotonic() + 30
    while source(page) == before:
        assert time.monotonic() < until
        time.sleep(0.05)


def drawn(page: Page) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture that is shown: `(H, W, 3)` uint8."""
    with Image.open(io.BytesIO(base64.b64decode(source(page).partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))
