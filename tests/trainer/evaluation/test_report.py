"""The report: the page, the tables beside it, and what goes from it into a model file."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix
from tests.browsing import TIMEOUT_MS, violations
from tests.said import Command

from falx.decision import Thresholds
from falx.model import file as model_file
from falx.model.retarget import retarget, write
from falx.phantom import PHANTOMS
from falx.words import DECISIONS, LABELS
from falx_trainer.__main__ import main
from falx_trainer.evaluation.report import numbers

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = '<script>alert("1")</script>'

DRAWN = {
    "dark": (255 * (PHANTOMS["lesion"]() / 255) ** 3).astype(np.uint8),
    "bright": (255 * (PHANTOMS["lesion"]() / 255) ** 0.5).astype(np.uint8),
    "blank": np.full((200, 200), 90, np.uint8),
}

VOID = {"meta", "img", "br", "col"}


class Page(HTMLParser):
    """A reader of a page for tests; raises where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten slices of two sources; to the model, which goes by brightness, what is dark has no tumour."""
    folder = tmp_path_factory.mktemp("slices")
    rows = [
        ("dark", "no_tumor", "one"),
        ("dark", "no_tumor", HOSTILE),
        ("dark", "glioma", HOSTILE),
        ("dark", "tumor_untyped", "one"),
        ("bright", "no_tumor", "one"),
        ("bright", "glioma", "one"),
        ("bright", "glioma", HOSTILE),
        ("bright", "meningioma", "one"),
        ("bright", "pituitary", HOSTILE),
        ("blank", "glioma", "one"),
    ]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "source", "group", "split"])
        for number, (drawn, label, source) in enumerate(rows):
            Image.fromarray(DRAWN[drawn]).save(folder / f"secret<{number}.png")
            writer.writerow([f"secret<{number}.png", label, source, f"patient{number // 2}", "val"])
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, data: Path, tiny_model: Path) -> Path:
    """The folder of a report, with another model beside it: one clears what is dark, the other nothing."""
    folder = tmp_path_factory.mktemp("report")
    for name, threshold in (("bold", 0.4), ("cautious", 1)):
        write(retarget(tiny_model.read_bytes(), {"no_tumor": threshold}), folder / f"{name}.tflite")
    arguments = ["evaluate", str(folder / "bold.tflite"), "--data", str(data), "--out", str(folder / "out")]
    assert main([*arguments, "--compare", str(folder / "cautious.tflite"), "--sensitivity", "0.75"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def metrics(report: Path) -> Any:
    return json.loads((report / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(report: Path) -> Page:
    return Page((report / "report.html").read_text(encoding="utf-8"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_page_needs_nothing_else_and_runs_nothing(page: Page) -> None:
    assert page.all("script") == []
    assert page.all("link") == []
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    assert all((link["href"] or "").startswith("#") for link in page.all("a"))
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {(link["href"] or "")[1:] for link in page.all("a")} <= set(identifiers)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_axe_finds_nothing_on_the_page(browser: Browser, report: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(TIMEOUT_MS)
    opened = context.new_page()
    opened.goto((report / "report.html").as_uri())
    assert violations(opened) == []
    context.close()


def test_names_are_text(page: Page) -> None:
    assert HOSTILE in page.words
    assert "secret<2.png" in page.words


def test_missed_tumors_come_first_with_their_interval(page: Page, metrics: Any) -> None:
    # Of seven tumours two dark ones; a blank one is rejected.
    assert metrics["all"]["missed"][0] == 2 / 7
    low, high = metrics["all"]["missed"][1:3]
    shown = page.words.index(f"95 % interval {low * 100:.1f}–{high * 100:.1f}\xa0%")
    assert page.words.index("Missed tumours 28.6\xa0% 2 of 7 slices with a tumour") < shown
    assert shown < page.words.index("Healthy slices cleared")
    assert [name for name, _ in page.tags if name in ("h1", "h2")][:2] == ["h1", "h2"]


def test_pictures_say_what_they_show(page: Page) -> None:
    assert all(image["alt"] for image in page.all("img"))
    assert all(row.get("aria-label") for row in page.all("svg"))


def test_the_worst_errors_are_shown_with_their_heatmaps(page: Page) -> None:
    photographs = [image for image in page.all("img") if (image["src"] or "").startswith("data:image/jpeg")]
    # Two missed, one false alarm, two of the wrong type; one rejected, which has no heatmap.
    assert len(photographs) == 2 * (2 + 1 + 2) + 1
    for title in ("Missed tumours: 2", "False alarms: 1", "Wrong type: 2", "Rejected slices: 1"):
        assert title in page.words
    assert "glioma, decided rejected : The picture is of one brightness, or nearly." in page.words
    assert "This page holds images, group names and file names of slices" in page.words


def test_both_models_stand_side_by_side(page: Page, metrics: Any) -> None:
    tests = metrics["comparison"]["tests"]
    assert (tests["missed"]["first"], tests["missed"]["second"]) == (2 / 7, 0.0)
    assert [tests["missed"][name] for name in ("only_first", "only_second", "p")] == [2, 0, 0.5]
    assert metrics["comparison"]["thresholds"]["no_tumor"] == 1.0
    assert "Compared with tiny (cautious.tflite)" in page.words
    assert "missed tumours 28.6\xa0% 0.0\xa0% +28.6" in page.words


def test_the_tables_have_every_number(report: Path, metrics: Any) -> None:
    rows = table(report / "measures.csv")
    found = {(row["by"], row["part"], row["label"], row["measure"]): row for row in rows}
    for by, part, whole in (
        ("all", "", metrics["all"]),
        ("by_source", HOSTILE, metrics["by_source"][HOSTILE]),
        ("by_label", "glioma", metrics["by_label"]["glioma"]),
    ):
        missed = found[by, part, "", "missed"]
        numbers_in = [float(missed[name]) for name in ("value", "low", "high")]
        assert [*numbers_in, int(missed["slices"])] == whole["missed"]
        recall = whole["classes"]["glioma"]["recall"]
        assert float(found[by, part, "glioma", "recall"]["value"]) == recall[0]
    assert ("by_label", "glioma", "", "cleared") not in found
    slices = table(report / "slices.csv")
    known = [row for row in slices if row["label"] != "tumor_untyped"]
    decided = confusion_matrix(
        [row["label"] for row in known], [row["decision"] for row in known], labels=DECISIONS
    )
    shown = {row["label"]: row for row in table(report / "decisions.csv")}
    for index, label in enumerate(LABELS):
        assert [int(shown[label][decision]) for decision in DECISIONS] == decided[index].tolist()
    assert slices[-1]["reason"] == "blank"
    assert slices[-1]["p_glioma"] == ""
    assert sum(float(slices[0][f"p_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-5)
    assert {row["label"] for row in table(report / "roc.csv")} == {*LABELS, "tumor"}


def test_every_number_of_the_page_is_by_source_too(page: Page, metrics: Any) -> None:
    for name, part in metrics["by_source"].items():
        start = page.words.rindex(f" {name} label slices precision")
        after = page.words[start : start + 900]
        for label in LABELS:
            assert numbers.decimal(part["classes"][label]["recall"]) in after
        assert numbers.decimal(part["averages"]["macro"]["f1"]) in after


def test_thresholds_go_straight_into_a_model_file(
    report: Path, tiny_model: Path, tmp_path: Path, command: Command
) -> None:
    path = report / "thresholds.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    slices = {"no_tumor": 3, "meningioma": 1, "glioma": 4, "pituitary": 1, "tumor_untyped": 1}
    assert document["data"]["slices"] == slices
    assert document["data"]["groups"]["glioma"] == 4
    assert document["choices"]["sensitivity"]["no_tumor"]["tumors"] == 7
    warning = f"falx: warning: {path}: Too few for a sensitivity of 75 %: with none missed it takes 12"
    for choice in ("sensitivity", "youden"):
        out = tmp_path / f"{choice}.tflite"
        said = command("retarget", tiny_model, "--thresholds", path, "--choice", choice, "--out", out)
        assert said.status == 0
        chosen = Thresholds.from_mapping(document["choices"][choice]["thresholds"])
        assert model_file.read(out)[0].thresholds == chosen
        assert warning in said.err
        assert "its probabilities are others" not in said.err


def test_a_plain_folder_has_no_groups_and_the_report_says_so(
    tmp_path: Path, tiny_model: Path, trainer: Command
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for name, label in (("dark", "no_tumor"), ("bright", "glioma")):
        (data / label).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(DRAWN[name]).save(data / label / f"{number}.png")
    assert trainer("evaluate", tiny_model, "--data", data, "--shareable", "--out", out).status == 0
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert "Patients are not known The data name no patient or group, so every image is taken" in page.words
    assert "4 images, each taken for itself" in page.words
    assert "Missed tumours by collection" not in page.words
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["grouped"], metrics["all"]["groups"]) == (0, 4)
    assert metrics["all"]["missed"] == [0.0, 0.0, 1.0, 2]


def test_what_is_shareable_neither_shows_nor_names_a_slice(
    tmp_path: Path, data: Path, tiny_model: Path, trainer: Command
) -> None:
    assert trainer("evaluate", tiny_model, "--data", data, "--out", tmp_path, "--shareable").status == 0
    written = [path for path in tmp_path.iterdir() if path.suffix != ".png"]
    assert not {"slices.csv", "overlap.csv"} & {path.name for path in written}
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert [word for word in ("secret", "patient0", "image/jpeg") if word in text] == [], path


@pytest.mark.parametrize("value", ["0", "1.5", "nan", "much"])
def test_a_sensitivity_is_a_share(value: str, trainer: Command) -> None:
    said = trainer("evaluate", "m.tflite", "--data", "d", "--out", "o", "--sensitivity", value)
    said.refuses(f"expected a share above 0 and up to 1, such as 0.99; got {value!r}")


def test_numbers_for_people() -> None:
    share, area = [0.5, 0.25, 0.751, 4], [0.98765, 0.9, 1.0, 4]
    assert (numbers.percent(0.12345), numbers.percent(share)) == ("12.3\xa0%", "50.0\xa0%")
    assert numbers.percent_range(share) == "25.0–75.1\xa0%"
    assert (numbers.decimal(area), numbers.decimal_range(area)) == ("0.988", "0.900–1.000")
    assert (numbers.percent(None), numbers.decimal(None), numbers.percent_range(None)) == ("–", "–", "")
    assert (numbers.signed(-0.0123, 1, 100), numbers.signed(0.5, 3)) == ("−1.2", "+0.500")
    assert numbers.signed(None, 1) == "–"
    assert [numbers.ceiling(share) for share in (0.0, 0.02, 0.021, 1.0)] == [0.02, 0.02, 0.05, 1.0]
