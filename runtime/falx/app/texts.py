"""Every text of the page and of its reports, so that a translation is one file.

Falx's own sentences about an answer, such as reasons and recommendations, come with the answer
(`falx.words`, `falx.study`); they are the same on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from falx import words
from falx.words import AMBIGUOUS, BANDS, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS

__all__ = [
    "BAND_MEANINGS",
    "CAUTIONS",
    "ERROR",
    "KINDS",
    "NAMES",
    "SIGNS",
    "VIEWER",
    "counted",
    "kind",
    "percent",
    "perhaps",
    "strongest",
]

ERROR: Final = "error"
TUMOR: Final = "tumor"

NAMES: Final = {
    NO_TUMOR: "No tumour",
    "meningioma": "Meningioma",
    "glioma": "Glioma",
    "pituitary": "Pituitary tumour",
    TUMOR: "Tumour",
    AMBIGUOUS: "Ambiguous",
    REJECTED: "Rejected",
    ERROR: "Cannot be read",
}
"""The name of each decision, on a slice or on a study."""

KINDS: Final = (NO_TUMOR, TUMOR, AMBIGUOUS, REJECTED, ERROR)
"""The kinds of decision that look different: each has a colour, a sign and a word."""

SIGNS: Final = {NO_TUMOR: "○", TUMOR: "◆", AMBIGUOUS: "?", REJECTED: "⊘", ERROR: "!"}
"""The sign of each kind as a letter; on the page and in reports it is drawn (`falx.app.colours`)."""


def percent(share: float) -> str:
    """Returns 0.976 as `98 %`, with a space that does not break."""
    return words.percent(share, 0, "\N{NO-BREAK SPACE}")


def counted(count: int) -> str:
    """Returns a number of slices: `1 slice`, `2 slices`."""
    return words.counted(count)


def kind(decision: str) -> str:
    """Returns the kind of a decision, one of `KINDS`."""
    return TUMOR if decision in TUMOR_LABELS else decision


# The answer

BAND_MEANINGS: Final = {
    "high": f"High confidence: {percent(BANDS['high'])} or more.",
    "moderate": f"Moderate confidence: {percent(BANDS['moderate'])} or more, below {percent(BANDS['high'])}; "
    "consider the other findings.",
    "low": f"Low confidence: below {percent(BANDS['moderate'])}; another finding may well be right.",
}
FINDING: Final = "Finding"
PROBABILITY: Final = "Probability"
PROBABILITIES: Final = "All probabilities"
PROBABILITIES_ABOUT: Final = (
    "The probability of each finding, and the threshold from which Falx decides for it"
)
THRESHOLD: Final = "Threshold"
THRESHOLDS: Final = "Thresholds"
THRESHOLDS_ABOUT: Final = "The probability from which Falx decides for each finding"
NONE: Final = "–"
QUALITY: Final = "Picture quality:"
CAUTIONS: Final = {
    "small": "The head is small in this picture, {found} pixels across; Falx needs {wanted} to see small "
    "structures. A tumour may be missed, or its type mistaken.",
    "low_contrast": "The head has few grey levels, {found} of 255; Falx needs {wanted}. A tumour may not "
    "stand out from its surroundings.",
    "marks": "There are letters or marks beside the head. Falx may take them for a part of the head; use "
    "the slice without them if you can.",
}
"""Why the quality of a picture limits its answer; `quality.look` fills in what it measured."""

NOT_SHOWN: Final = {
    ERROR: NAMES[ERROR],
    REJECTED: "Not shown: its DICOM tags say that it is not an MR slice of a head.",
}
"""Stands in the place of a slice that has no picture."""


def confidence(share: float | None, band: str | None) -> str:
    """Returns a confidence with its band: `97 %, high confidence`; empty for None."""
    return "" if share is None else f"{percent(share)}, {band} confidence"


def changed(own: float) -> str:
    """Returns the mark of a threshold that was changed when the page was started."""
    return f"changed; the model's own is {percent(own)}"


def perhaps(probabilities: Mapping[str, float]) -> str:
    """Returns a sentence with the two likeliest findings.

    Args:
        probabilities: The probability of every label, 0..1.
    """
    leading = sorted(LABELS, key=lambda label: -probabilities[label])[:2]
    shares = (f"{NAMES[label].lower()} ({percent(probabilities[label])})" for label in leading)
    return f"Perhaps {' or '.join(shares)}."


# The heatmap

HEATMAP_EMPTY: Final = "The heatmap is empty: nothing in this slice speaks for a tumour."
ROWS: Final = (", in its upper third", "", ", in its lower third")
COLUMNS: Final = ("on the left side of", "in the middle of", "on the right side of")


def strongest(peak: float, row: int, column: int) -> str:
    """Returns a sentence on where the heatmap is strongest.

    Args:
        peak: The greatest value, 0..1.
        row: The third of the picture from the top, 0 to 2.
        column: The third of the picture from the left, 0 to 2.
    """
    return f"The heatmap is strongest, {percent(peak)}, {COLUMNS[column]} the picture{ROWS[row]}."


def described(width: int, height: int, found: str) -> str:
    """Returns the description of a slice for those who do not see it."""
    return f"The slice, {width} by {height} pixels. {found}".strip()


# The page

TITLE: Final = "Falx: slices of a brain MRI"
SUBTITLE: Final = "Slices of a brain MRI, read by the machine that serves this page. Nothing is stored."
GIVE: Final = "Files"
SLICES: Final = "Slices"
ONE_PATIENT: Final = "These pictures are one examination of one patient"
ONE_PATIENT_HELP: Final = (
    "Pictures without DICOM tags do not say whose they are. Switched off, each is answered by itself. "
    "Switched on, they are also answered together, as one study."
)
PATIENT: Final = "Patient (optional)"
PATIENT_EXAMPLE: Final = "Name or identifier"
SCAN_DATE: Final = "Scan date (optional)"
NOTHING_YET: Final = "No slice yet"
NOTHING_YET_HINT: Final = "The answer appears here once a slice is read."
HOW: Final = "How Falx decides"
HOW_STEPS: Final = (
    "A picture that is not a usable slice of a head is rejected.",
    "If the probability of “no tumour” reaches its threshold, the decision is “no tumour”.",
    "If not, and the likeliest tumour reaches its threshold, the decision is that tumour.",
    "If not, the slice is ambiguous: a physician should look.",
)
HOW_STUDY: Final = (
    "A study is decided by Falx's rule for studies, which never averages a tumour away. Falx knows three "
    "types of tumour. A slice beside a tumour looks healthy, and is."
)
TABLE: Final = "All slices in a table"
TABLE_COLUMNS: Final = ("Slice", "File", "Decision", "Confidence", "Any tumour")
TABLE_CAPTION: Final = (
    "Key slices are those that the decision on the study rests on. Any tumour: the probabilities of the "
    "three tumours, added up."
)
KEY_SLICE: Final = "key slice"
SEVERAL_STUDIES: Final = "More than one study"
NOTHING_SAVED: Final = "Nothing can be saved: these slices may be of several patients."
SAVE: Final = "Save"
NEXT: Final = "Next patient"
NEXT_HELP: Final = "Forgets the slices and the patient."
SAMPLE_FILE: Final = "drawn head.png"
VIEWER: Final = {
    "drop": "Drop slices anywhere on this page",
    "kinds": "PNG, JPEG, BMP, TIFF or DICOM; one slice, several, or a folder",
    "choose": "Choose files",
    "sample": "Try a drawn sample",
    "dropping": "Drop the slices to have them read",
    "most": "Only the first {most} of {count} files were taken. Start falx app with --max-files for more.",
    "stage": "The slice. Arrow keys: other slices. Plus, minus, 0: zoom. H: heatmap on or off.",
    "view": "View",
    "heatmap": "Heatmap",
    "slice": "Slice alone",
    "both": "Side by side",
    "opacity": "Opacity",
    "less": "less",
    "more": "more like a tumour",
    "zoom": "Zoom",
    "in": "Zoom in",
    "out": "Zoom out",
    "fit": "Fit",
    "window": "Window",
    "centre": "Centre",
    "width": "Width",
    "reset": "Reset",
    "hint": "Right-button drag sets the window; the answer stays the same.",
}
"""The texts of the viewer, for its JavaScript."""


def ready(name: str, version: str) -> str:
    """Returns the line that says which model answers."""
    return f"Ready: {name} {version}"


def upload_help(files: int, megabytes: int, slices: int) -> str:
    """Returns the help of the field for files."""
    return (
        "PNG, JPEG, BMP, TIFF or DICOM: grey slices, a head on a dark background. At most "
        f"{files} files of {megabytes} MB each, and {slices} slices."
    )


def too_many_files(name: str, most: int) -> str:
    """Returns the error for a file beyond the limit on files."""
    return f"{name}: not read: at most {most} files are read at a time"


def too_many_slices(name: str, most: int, frames: int) -> str:
    """Returns the error for a file beyond the limit on slices."""
    has = f", and this file has {frames}" if frames > 1 else ""
    return f"{name}: not read: at most {most} slices are read at a time{has}"


def progress(done: int, total: int) -> str:
    """Returns how many slices are answered."""
    return f"{done} of {total} slices read"


def numbered_picture(number: int) -> str:
    """Returns the name of a picture that belongs to no study, beside slices that do."""
    return f"picture {number}"


def not_used(slices: int, why: str) -> str:
    """Returns the line for a series that is not used."""
    return f"Not used, {counted(slices)}: {why}"


def series_heading(number: int, words: str) -> str:
    """Returns a heading, or a note, of a series."""
    return f"Series {number}: {words}"


def study_heading(count: int) -> str:
    """Returns what stands above the decision on a study."""
    return f"Study of {counted(count)}"


def went_wrong(place: str) -> str:
    """Returns the message for a fault of the page itself."""
    return f"Something went wrong on the server ({place}). Load the page again."


# What can be saved

FILES: Final = {
    "pdf": ("PDF", "A report to print or to file."),
    "html": ("Web page", "The report as one HTML page, to keep or to print."),
    "json": ("JSON", "For programs; without the patient."),
    "csv": ("CSV", "For spreadsheets; without the patient."),
}
"""The button of each kind of file, and its help."""

REPORT_TITLE: Final = "Falx: report"
REPORT_PATIENT: Final = "Patient"
REPORT_SCANNED: Final = "Scan date"
REPORT_MADE: Final = "Report made"
NOT_GIVEN: Final = "not given"
MODEL: Final = "Model"
THE_SLICE: Final = "The slice."
THRESHOLDS_NOTE: Final = "Bars are marked at the threshold of each finding."


def report_heading(count: int) -> str:
    """Returns the heading of a report."""
    return f"Falx: report on {counted(count)} of a brain MRI"


def page_number(number: int, total: str) -> str:
    """Returns the number of a page at its foot."""
    return f"{number} of {total}"


def no_font(letters: str) -> str:
    """Returns why a PDF cannot be made: letters that no font of the server has."""
    return f"no font of this server has {_named(letters)}: install one, such as Noto"


def no_pdf(letters: str) -> str:
    """Returns the note beside the button of the PDF that cannot be made."""
    return f"No PDF: {no_font(letters)}. The web page has every letter, and can be printed."


def _named(letters: str) -> str:
    """Returns letters with their numbers, for those that see no such letter either."""
    return ", ".join(f"“{letter}” (U+{ord(letter):04X})" for letter in letters)
