"""The page in Chromium: it says what Falx says, to each visitor their own, and keeps nothing."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from tests.app.conftest import (
    MAXIMUM_FILES,
    PATIENT,
    Made,
    Served,
    answered,
    downloaded,
    drawn_whole,
    forgotten,
    give,
    next_patient,
    one_patient,
    own,
    visit,
)
from tests.browsing import SERIOUS, drawn, violations
from tests.pictures import Pixels, zipped
from tests.waiting import until

from falx import Classifier, phantom
from falx.app.texts import BAND_MEANINGS, NAMES, VIEWER, percent
from falx.reading.series import Gathering, Series
from falx.reading.source import read
from falx.slices.overlay import tint
from falx.slices.reasons import REASONS, TAG_REASONS
from falx.study import sum_up
from falx.words import DISCLAIMER, LABELS

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import Browser, Locator, Page, expect

Files = dict[str, Path]
SIZES = {"desk": (1280, 800), "tablet": (820, 1180), "phone": (390, 844)}


class TestOneSlice:
    def test_says_what_falx_says(self, page: Page, files: Files, classifier: Classifier) -> None:
        expected = classifier.predict(files["lesion.png"])
        give(page, files["lesion.png"])
        said = page.locator(".st-key-answer").inner_text()
        assert expected.confidence is not None
        assert expected.band is not None
        assert expected.probabilities is not None
        for words in (
            NAMES[expected.decision],
            f"{percent(expected.confidence)}, {expected.band} confidence",
            BAND_MEANINGS[expected.band],
            expected.recommendation,
        ):
            assert words in said
        expect(page.locator(".st-key-answer .verdict")).to_have_attribute("data-kind", "tumor")
        rows = page.locator(".probabilities tbody tr").all_inner_texts()
        assert [re.split(r"\s*\t\s*|\n", row)[0] for row in rows] == [NAMES[label] for label in LABELS]
        for row, (label, share) in zip(rows, expected.probabilities.items(), strict=True):
            limit = classifier.card.thresholds[label]
            assert re.findall(r"\d+", row) == [f"{100 * share:.0f}", f"{100 * limit:.0f}"]

    def test_thresholds_stand_once(self, page: Page, files: Files) -> None:
        expect(page.locator(".thresholds tbody tr")).to_have_count(4)
        give(page, files["lesion.png"])
        page.get_by_text("How Falx decides").click()
        expect(page.locator(".how")).to_be_visible()
        expect(page.get_by_text("Threshold", exact=True)).to_have_count(1)
        expect(page.locator(".thresholds")).to_have_count(0)

    @pytest.mark.parametrize(
        ("name", "decision", "words"),
        [
            ("gradient.png", "rejected", REASONS["no_head"]),
            ("between.tiff", "ambiguous", "Perhaps "),
            ("broken <b>*x*<_b>.png", "error", "The image is damaged: its header cannot be read."),
        ],
    )
    def test_other_answers_have_a_sign_and_words(
        self, page: Page, files: Files, name: str, decision: str, words: str
    ) -> None:
        give(page, files[name])
        verdict = page.locator(".st-key-answer .verdict")
        expect(verdict).to_have_attribute("data-kind", decision)
        expect(verdict.get_by_role("heading", name=NAMES[decision])).to_have_count(1)
        assert name in verdict.inner_text()
        assert words in verdict.inner_text()
        until(lambda: verdict.locator("img.sign").evaluate("image => image.naturalWidth") > 0)

    def test_says_what_in_the_picture_limits_the_answer(self, page: Page, files: Files) -> None:
        give(page, files["small.bmp"])
        words = "The head is small in this picture, 74 pixels across"
        expect(page.locator(".caution")).to_contain_text(words)

    def test_prints(self, page: Page, files: Files) -> None:
        give(page, files["lesion.png"])
        assert page.pdf(format="A4").startswith(b"%PDF-")
        page.emulate_media(media="print")
        for seen in (".st-key-answer .decision", ".frames", ".st-key-foot", ".st-key-patient"):
            expect(page.locator(seen)).to_be_visible()
        for hidden in ('[data-testid="stFileUploader"]', ".st-key-save", ".tools"):
            expect(page.locator(hidden)).to_be_hidden()
        expect(page.locator(".stApp")).to_have_css("background-color", "rgb(255, 255, 255)")


class TestViewer:
    def test_draws_the_slice_and_its_heatmap(self, page: Page, files: Files, classifier: Classifier) -> None:
        give(page, files["lesion.png"])
        heatmap = classifier.predict(phantom.lesion()).heatmap
        assert heatmap is not None
        until(lambda: np.array_equal(seen(page), phantom.lesion()))
        until(lambda: np.array_equal(heat(page), np.asarray(tint(heatmap))))
        expect(page.locator(".frames canvas").first).to_have_attribute(
            "aria-label",
            "The slice, 256 by 256 pixels. "
            f"The heatmap is strongest, {percent(heatmap.max())}, in the middle of the picture.",
        )

    def test_heatmap_by_keyboard(self, page: Page, files: Files) -> None:
        give(page, files["lesion.png"])
        shown = page.locator(".heat:visible")
        expect(shown).to_have_css("opacity", "0.6")
        page.locator(".frames").focus()
        page.keyboard.press("h")
        expect(shown).to_have_count(0)
        page.get_by_role("radio", name="Side by side").check()
        expect(page.locator(".frames canvas:visible")).to_have_count(2)
        expect(shown).to_have_count(1)
        page.get_by_role("radio", name="Heatmap").check()
        page.get_by_label("Opacity").focus()
        page.keyboard.press("End")
        expect(shown).to_have_css("opacity", "1")
        page.keyboard.press("ArrowLeft")
        expect(shown).to_have_css("opacity", "0.95")

    def test_zoom_and_place(self, page: Page, files: Files) -> None:
        give(page, files["lesion.png"])
        layers, stage, zoom = (page.locator(name).first for name in (".layers", ".frames", "output.zoom"))
        stage.focus()
        page.keyboard.press("+")
        page.keyboard.press("+")
        expect(zoom).to_have_text("156 %")
        before = box(layers)
        drag(page, stage, 30, 10)
        assert np.subtract(box(layers), before)[:2] == pytest.approx((30, 10))
        page.get_by_role("button", name="Fit").click()
        expect(zoom).to_have_text("100 %")
        stage.dblclick()
        expect(zoom).to_have_text("200 %")
        page.keyboard.press("0")

    def test_window_of_dicom(self, page: Page, dicom: Made, tmp_path: Path) -> None:
        path = tmp_path / "a.dcm"
        path.write_bytes(dicom.windowed())
        give(page, path)
        wanted = read(path).pixels
        until(lambda: np.array_equal(seen(page), wanted))
        # As the tags say, 1200 and 2000; the standard subtracts a half and one (PS3.3, C.11.2.1.2).
        expect(page.locator(".window output")).to_have_text(["1200", "1999"])
        page.locator("input.width").focus()
        page.keyboard.press("PageDown")
        until(lambda: np.count_nonzero(seen(page) == 255) > np.count_nonzero(wanted == 255))
        narrower = seen(page)
        drag(page, page.locator(".frames"), 0, 40, button="right")
        until(lambda: seen(page).mean() < narrower.mean())
        page.get_by_role("button", name="Reset").click()
        until(lambda: np.array_equal(seen(page), wanted))

    def test_arrow_keys_walk_through_slices(self, page: Page, files: Files) -> None:
        names = [f"slice_{number}.png" for number in range(1, 5)]
        give(page, *(files[name] for name in names))
        name = page.locator(".st-key-answer .name")
        name.get_by_text("slice_4.png").wait_for()
        page.locator(".head h1").click()
        page.keyboard.press("ArrowUp")
        name.get_by_text("slice_3.png").wait_for()
        page.keyboard.press("ArrowLeft")
        name.get_by_text("slice_2.png").wait_for()
        page.keyboard.press("ArrowDown")
        name.get_by_text("slice_3.png").wait_for()
        expect(page.locator(".st-key-list").get_by_role("radio").nth(2)).to_be_checked()
        # A field keeps its own keys.
        page.get_by_label("Patient (optional)").fill("ab")
        page.keyboard.press("ArrowLeft")
        drawn_whole(page)
        assert "slice_3.png" in name.inner_text()


class TestGiving:
    def test_a_sample_can_be_tried(self, page: Page, classifier: Classifier) -> None:
        page.get_by_role("button", name="Try a drawn sample").click()
        answered(page, 1)
        expected = classifier.predict(phantom.lesion())
        said = page.locator(".st-key-answer").inner_text()
        assert NAMES[expected.decision] in said
        assert "drawn head.png, 256 × 256" in said
        next_patient(page)

    @pytest.mark.parametrize("place", [".st-key-answer", ".frames, .stage", '[data-testid="stFileUploader"]'])
    def test_the_whole_page_takes_drops(self, page: Page, files: Files, tmp_path: Path, place: str) -> None:
        (tmp_path / "scan" / "deep").mkdir(parents=True)
        for name in ("lesion.png", "gradient.png"):
            (tmp_path / "scan" / "deep" / name).write_bytes(files[name].read_bytes())
        drop(page, page.locator(place).first, files["clear.tiff"], tmp_path / "scan")
        answered(page, 3)
        listed = page.locator(".st-key-list").inner_text()
        assert all(name in listed for name in ("lesion.png", "gradient.png", "clear.tiff"))

    def test_more_files_than_allowed_are_refused(self, page: Page, files: Files) -> None:
        paths = [files[f"slice_{number}.png"] for number in range(1, 11)]
        paths += [files["lesion.png"], files["clear.tiff"], files["gradient.png"]]
        assert len(paths) == MAXIMUM_FILES + 1
        give(page, *paths, slices=MAXIMUM_FILES)
        page.locator('[data-testid="stFileChips"]').get_by_text("413").first.wait_for()
        next_patient(page)
        drop(page, page.locator(".st-key-answer"), *paths)
        answered(page, MAXIMUM_FILES)
        expect(page.locator(".most")).to_contain_text(f"Only the first {MAXIMUM_FILES} of {len(paths)} files")

    def test_an_archive_is_a_study_and_what_is_no_image_is_passed_over(
        self, page: Page, dicom: Made, tmp_path: Path
    ) -> None:
        (tmp_path / "scan.zip").write_bytes(
            zipped({f"scan/{name}": one for name, one in dicom.series().items()})
        )
        (tmp_path / "notes.txt").write_text("words")
        give(page, tmp_path / "scan.zip", tmp_path / "notes.txt", slices=3)
        expect(page.get_by_text("Study of 3 slices")).to_have_count(1)
        listed = page.locator(".st-key-listing").inner_text()
        assert "Passed over: 1 .txt. They are no images." in listed
        assert "IM3" in listed
        assert "scan" not in listed
        assert "scan.zip/scan/IM" in page.locator(".st-key-answer .name").inner_text()
        assert page.get_by_text("These files are one examination").count() == 0

    @pytest.mark.slow
    def test_the_next_patient_finds_nothing(self, page: Page, files: Files) -> None:
        page.get_by_label("Patient (optional)").fill(PATIENT)
        page.keyboard.press("Enter")
        give(page, files["lesion.png"], files["gradient.png"])
        one_patient(page)
        next_patient(page)
        expect(page.get_by_label("Patient (optional)")).to_have_value("")
        expect(page.locator('[data-testid="stFileChip"]')).to_have_count(0)
        # The files of the patients before do not count against this one.
        give(page, *(files[f"slice_{number}.png"] for number in range(1, 11)))
        assert page.locator(".st-key-study .verdict").count() == 0


class TestStudy:
    def test_pictures_are_one_patient_only_where_the_visitor_says_so(
        self, page: Page, files: Files, classifier: Classifier
    ) -> None:
        names = [f"slice_{number}.png" for number in range(1, 11)]
        results = [classifier.predict(files[name]) for name in names]
        give(page, *(files[name] for name in names))
        assert page.locator(".st-key-study .verdict").count() == 0
        one_patient(page)
        found = Gathering((Series(sources=(b"",) * len(results)),))
        study = sum_up(found, results)
        said = page.locator(".st-key-study .verdict").inner_text()
        assert study.decision == "tumor"
        assert "Tumour: glioma" in said
        assert study.verdict.reason in said
        assert study.verdict.recommendation in said
        page.get_by_text("All slices in a table").click()
        rows = page.locator(".slices tbody tr")
        # In the order of their numbers, not of their letters.
        expect(rows.locator(".file")).to_have_text(names)
        cells = rows.locator(".said").all_inner_texts()
        assert all(NAMES[one.decision] in text for one, text in zip(results, cells, strict=True))
        marked = [i for i in range(10) if rows.nth(i).get_by_text("key slice").count()]
        assert marked == list(study.verdict.carriers)
        # The key slice with the strongest evidence of a tumour is shown first.
        clear = [(one.probabilities or {})["no_tumor"] for one in results]
        assert (
            names[min(study.verdict.carriers, key=clear.__getitem__)]
            in page.locator(".st-key-answer .name").inner_text()
        )

    def test_a_broken_file_is_a_message_and_the_others_answer(
        self, page: Page, files: Files, classifier: Classifier
    ) -> None:
        share = classifier.predict(files["lesion.png"]).confidence
        assert share is not None
        give(page, files["lesion.png"], files["broken <b>*x*<_b>.png"], files["gradient.png"])
        listed = page.locator(".st-key-list label").all_inner_texts()
        assert [" ".join(text.split()) for text in listed if "·" in text] == [
            "1 · ! Cannot be read · broken <b>*x*<_b>.png",
            "2 · ⊘ Rejected · gradient.png",
            f"3 · ◆ Glioma, {share:.0%} · lesion.png".replace("%", " %"),
        ]

    def test_dicom_is_put_in_order_and_a_ct_is_not_used(
        self, page: Page, dicom: Made, tmp_path: Path
    ) -> None:
        scan = {
            **dicom.series(),
            "ct.dcm": dicom.file(phantom.clear(), Modality="CT", SeriesInstanceUID="1.2.3.6"),
            "frames": dicom.frames(SeriesInstanceUID="1.2.3.5"),
        }
        for name, data in scan.items():
            (tmp_path / name).write_bytes(data)
        give(page, *(tmp_path / name for name in scan), slices=7)
        page.get_by_text("All slices in a table").click()
        table = page.locator(".slices tbody")
        headings = ["Series 1: 3 slices", "Series 2: axial T1, 3 slices", "Not used"]
        expect(table.locator("tr.series")).to_have_text(headings)
        frames = [f"frames, frame {number}" for number in (1, 2, 3)]
        expect(table.locator(".file")).to_have_text([*frames, "IM3", "IM2", "IM1", "ct.dcm"])
        words = f"Not used, 1 slice: {TAG_REASONS['not_mr']}"
        expect(page.locator(".st-key-study")).to_contain_text(words)
        page.locator(".st-key-list label", has_text="ct.dcm").click()
        said = page.locator(".st-key-answer .verdict")
        said.get_by_role("heading", name="Not used").wait_for()
        expect(said).to_contain_text(TAG_REASONS["not_mr"])
        expect(page.locator(".stage .words")).to_have_text("Not used")
        # A slice of another study: each study is answered, and nothing can be saved of both together.
        (tmp_path / "other.dcm").write_bytes(dicom.file(phantom.clear(), StudyInstanceUID="1.2.9"))
        give(page, tmp_path / "other.dcm", slices=8)
        expect(page.get_by_text("Study B of 1 slice")).to_have_count(1)
        expect(page.get_by_text("Study A of 6 slices")).to_have_count(1)
        save = page.locator(".st-key-save")
        expect(save).to_contain_text("Nothing can be saved: these slices are of several studies.")
        expect(save.get_by_role("button")).to_have_text(["Next patient"])


class TestReports:
    def test_are_saved_with_the_patient_where_people_read_them(
        self, page: Page, files: Files, classifier: Classifier
    ) -> None:
        page.get_by_label("Patient (optional)").fill(PATIENT)
        page.keyboard.press("Enter")
        give(page, files["lesion.png"])
        name, html = downloaded(page, "Web page")
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
        answer = json.loads(content)
        expected = classifier.predict(files["lesion.png"]).to_dict()
        assert {**answer, "elapsed_ms": 0} == {**expected, "path": "lesion.png", "elapsed_ms": 0}
        name, content = downloaded(page, "CSV")
        assert name == "falx-results.csv"
        assert content.decode("utf-8-sig").splitlines()[1].startswith("lesion.png,,1,glioma,0.")
        assert PATIENT not in content.decode("utf-8-sig")

    def test_a_letter_that_no_font_has_is_told_beside_the_button(self, page: Page, files: Files) -> None:
        page.get_by_label("Patient (optional)").fill("Zoë \U00012000")
        page.keyboard.press("Enter")
        give(page, files["lesion.png"])
        words = "No PDF: no font of this server has “\U00012000” (U+12000); print the web page"
        expect(page.locator(".st-key-save")).to_contain_text(words)
        expect(page.get_by_role("button", name="PDF", exact=True)).to_be_disabled()
        name, html = downloaded(page, "Web page")
        assert (name, "Zoë \U00012000" in html.decode()) == ("falx-report.html", True)


class TestPrivacy:
    @pytest.mark.slow
    def test_two_visitors_see_their_own(
        self, page: Page, browser: Browser, served: Served, files: Files
    ) -> None:
        with own(browser) as context:
            visitor = visit(context, served)
            other = visitor.page
            page.get_by_label("Patient (optional)").fill(PATIENT)
            page.keyboard.press("Enter")
            give(page, files["lesion.png"])
            give(other, files["gradient.png"])
            other.locator('.st-key-answer [data-kind="rejected"]').wait_for()
            assert "lesion.png" not in other.content()
            assert PATIENT not in other.content()
            expect(other.get_by_label("Patient (optional)")).to_have_value("")
            assert "gradient.png" not in page.content()
            visitor.check()

    def test_the_slice_has_no_address(self, page: Page, files: Files) -> None:
        give(page, files["lesion.png"])
        sources = page.locator("img").evaluate_all("all => all.map(image => image.src.slice(0, 11))")
        assert set(sources) <= {"data:image/"}

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


@pytest.mark.slow
class TestForEveryone:
    def test_works_by_keyboard(self, page: Page, files: Files) -> None:
        # From now on Playwright, not Chromium, opens the dialog for files.
        page.on("filechooser", lambda _: None)
        tab_to(page, "Choose files")
        with page.expect_file_chooser() as choice:
            page.keyboard.press("Enter")
        choice.value.set_files([files["lesion.png"], files["gradient.png"]])
        answered(page, 2)
        tab_to(page, "lesion.png", 'closest("label")')
        page.keyboard.press("ArrowUp")
        page.locator('.st-key-answer [data-kind="rejected"]').wait_for()
        drawn_whole(page)
        page.keyboard.press("ArrowDown")
        page.locator('.st-key-answer [data-kind="tumor"]').wait_for()
        drawn_whole(page)
        tab_to(page, VIEWER["stage"])
        page.keyboard.press("+")
        expect(page.locator("output.zoom")).to_have_text("125 %")
        page.keyboard.press("0")
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
        one_patient(page)
        page.get_by_text("All slices in a table").click()
        page.locator(".slices").wait_for()
        assert violations(page, SERIOUS) == []

    @pytest.mark.parametrize("size", SIZES)
    def test_every_screen_shows_what_matters(self, page: Page, files: Files, size: str) -> None:
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        give(page, *(files[f"slice_{number}.png"] for number in range(1, 6)))
        one_patient(page)
        foot = page.locator(".st-key-foot")
        assert foot.inner_text().startswith(DISCLAIMER)
        for place in (0, 100_000):
            page.evaluate(f"document.querySelector('[data-testid=stMain]').scrollTo(0, {place})")
            for button in foot.get_by_role("button").all():
                left, top, right, bottom = box(button)
                assert 0 < left < right < width
                assert height / 2 < top < bottom < height
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Nothing is hidden behind the foot at the end of the page, and nothing touches an edge.
        blocks = [page.locator(f".{name}") for name in ("st-key-study", "st-key-answer", "st-key-patient")]
        blocks += [page.locator(name) for name in (".viewer", ".st-key-list", ".head")]
        for block in blocks:
            left, _, right, bottom = box(block)
            assert left >= 12, block
            assert right <= width - 12, block
            assert bottom <= box(foot)[1], block
        columns = {round(box(block)[0]) for block in blocks}
        assert (len(columns) == 1) == (size == "phone")


def box(locator: Locator) -> tuple[float, float, float, float]:
    """The left, top, right and bottom of an element, in pixels of the window."""
    found = locator.bounding_box()
    assert found is not None
    return found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"]


Button = Literal["left", "right"]


def drag(page: Page, locator: Locator, right: int, down: int, button: Button = "left") -> None:
    """Drags from the middle of an element."""
    left, top, other, bottom = box(locator)
    x, y = (left + other) / 2, (top + bottom) / 2
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + right, y + down, steps=3)
    page.mouse.up(button=button)


def drop(page: Page, locator: Locator, *paths: Path) -> None:
    """Drops files and folders on an element, as the system does."""
    left, top, right, bottom = box(locator)
    at = {"x": (left + right) / 2, "y": (top + bottom) / 2}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for event in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": event, **at, "data": data})
    session.detach()


def tab_to(page: Page, name: str, of: str = "") -> None:
    """Presses Tab until the focus is on an element of this name."""
    focus = """() => {
      let found = document.activeElement;
      while (found?.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
      if (!found || ["BODY", "MAIN"].includes(found.tagName)) return "";
      found = OF;
      return found?.getAttribute?.("aria-label") || found?.innerText || "";
    }""".replace("OF", f"found.{of}" if of else "found")
    for _ in range(80):
        page.keyboard.press("Tab")
        if name in page.evaluate(focus):
            return
    raise AssertionError(f"Tab never comes to {name}")


def faults(page: Page, html: bytes) -> list[str]:
    """Returns all faults, serious or not, that axe finds on a page that was saved."""
    saved = page.context.new_page()
    saved.set_content(html.decode())
    found = violations(saved)
    saved.close()
    return found


def seen(page: Page) -> Pixels:
    """The slice that is drawn: `(H, W)` uint8."""
    return drawn(page.locator(".frames canvas").first)[..., 0]


def heat(page: Page) -> Pixels:
    """The heatmap that lies over the slice: `(H, W, 4)` uint8."""
    address = page.locator(".heat").first.get_attribute("src")
    assert address is not None
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image)
