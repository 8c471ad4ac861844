"""Every text of the page and of its reports, so that a translation is one file.

Words in braces are filled in. Falx's own sentences about an answer, such as reasons and recommendations, come
with the answer (`falx.words`, `falx.study`); they are the same on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from falx import words
from falx.words import AMBIGUOUS, BANDS, ERROR, LABELS, NO_TUMOR, REJECTED, TUMOR_LABELS

NOT_USED: Final = "not_used"
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
    NOT_USED: "Not used",
}
"""The name of each decision, on a slice or on a study."""

KINDS: Final = (NO_TUMOR, TUMOR, AMBIGUOUS, REJECTED, ERROR)
"""The kinds of decision that look different: each has a colour, a sign and a word."""

SIGNS: Final = {NO_TUMOR: "○", TUMOR: "◆", AMBIGUOUS: "?", REJECTED: "⊘", ERROR: "!"}
"""The sign of each kind as a letter; on the page and in reports it is drawn (`falx.app.colours`)."""


def kind(decision: str) -> str:
    """Returns the kind of a decision, one of `KINDS`."""
    return TUMOR if decision in TUMOR_LABELS else REJECTED if decision == NOT_USED else decision


def percent(share: float) -> str:
    """Returns 0.976 as `98 %`, with a space that does not break."""
    return words.percent(share, 0, "\N{NO-BREAK SPACE}")


# A slice and its answer

CONFIDENCE: Final = "{share}, {band} confidence"
SHORT_CONFIDENCE: Final = "{share}, {band}"
BAND_MEANINGS: Final = {
    "high": f"High confidence: {percent(BANDS['high'])} or more.",
    "moderate": f"Moderate confidence: {percent(BANDS['moderate'])} or more, below {percent(BANDS['high'])}; "
    "consider the other findings.",
    "low": f"Low confidence: below {percent(BANDS['moderate'])}; another finding may well be right.",
}
FRAME: Final = "{file}, frame {number}"
FINDING: Final = "Finding"
PROBABILITY: Final = "Probability"
PROBABILITIES: Final = "All probabilities"
PROBABILITIES_ABOUT: Final = "The probability of each finding, and the threshold from which it is decided"
THRESHOLD: Final = "Threshold"
THRESHOLDS: Final = "Thresholds"
THRESHOLDS_ABOUT: Final = "The probability from which each finding is decided"
THRESHOLDS_NOTE: Final = "Bars are marked at the threshold of each finding."
CHANGED: Final = "changed; the model's own is {own}"
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
"""The limits that the quality of a picture sets to its answer; `quality.look` fills in what it measured."""

NOT_SHOWN: Final = {
    ERROR: NAMES[ERROR],
    NOT_USED: NAMES[NOT_USED],
    REJECTED: "Not shown: its DICOM tags say that it is not an MR slice of a head.",
}
"""The words in the place of a slice that has no picture."""

DESCRIPTION: Final = "The slice, {width} by {height} pixels. {found}"
STRONGEST: Final = "The heatmap is strongest, {peak}, {column} the picture{row}."
ROWS: Final = (", in its upper third", "", ", in its lower third")
COLUMNS: Final = ("on the left side of", "in the middle of", "on the right side of")
HEATMAP_EMPTY: Final = "The heatmap is empty: nothing in this slice speaks for a tumour."


def perhaps(probabilities: Mapping[str, float]) -> str:
    """Returns a sentence with the two likeliest findings."""
    leading = sorted(LABELS, key=lambda label: -probabilities[label])[:2]
    shares = (f"{NAMES[label].lower()} ({percent(probabilities[label])})" for label in leading)
    return f"Perhaps {' or '.join(shares)}."


# A study

STUDY: Final = "Study of {slices}"
LETTERED_STUDY: Final = "Study {letter} of {slices}"
SERIES: Final = "Series {number}: {words}"
PICTURE: Final = "picture {number}"
PICTURES: Final = "Pictures, each by itself"
NOT_USED_HINT: Final = "No series of the study uses this slice; the notes on the study say why."
NOT_USED_NOTE: Final = "Not used, {slices}: {reason}"
TABLE: Final = "All slices in a table"
TABLE_COLUMNS: Final = ("Slice", "File", "Decision", "Confidence", "Any tumour")
TABLE_CAPTION: Final = (
    "Key slices are those that the decision on the study rests on. Any tumour: the probabilities of the "
    "three tumours, added up."
)
KEY_SLICE: Final = "key slice"

# The page

TITLE: Final = "Falx: slices of a brain MRI"
SUBTITLE: Final = "Slices of a brain MRI, read by the machine that serves this page. Nothing is stored."
READY: Final = "Ready: {name} {version}"
GIVE: Final = "Files"
GIVE_HELP: Final = (
    "DICOM, NIfTI, PNG, JPEG, TIFF and others, also in a zip archive: grey slices, a head on a dark "
    "background. At most {files} files of {megabytes} MB in all, and {slices} slices."
)
TOO_MANY_FILES: Final = "not read: at most {most} files are read at a time"
TOO_MANY_SLICES: Final = "not read: with this file there would be more than {most} slices"
PASSED_OVER: Final = "Passed over: {kinds}. They are no images."
PROGRESS: Final = "{done} of {total} slices read"
SLICES: Final = "Slices"
ONE_PATIENT: Final = "These files are one examination of one patient"
ONE_PATIENT_HELP: Final = (
    "Pictures and volumes do not say whose they are; DICOM does. Switched off, each of them is answered by "
    "itself. Switched on, they are answered together, as one study."
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
NOTHING_SAVED: Final = "Nothing can be saved: these slices are of several studies. Give one study at a time."
SAY_ONE: Final = "If they are of one patient, switch that on beside the files."
NEXT: Final = "Next patient"
NEXT_HELP: Final = "Forgets the slices and the patient."
SAMPLE_FILE: Final = "drawn head.png"
WENT_WRONG: Final = "Something went wrong on the server ({place}). Load the page again."
VIEWER: Final = {
    "drop": "Drop slices anywhere on this page",
    "kinds": "DICOM, NIfTI, PNG, JPEG or TIFF; files, a folder or a zip archive",
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

# Reports

FILES: Final = {
    "pdf": ("PDF", "A report to print or to file."),
    "html": ("Web page", "The report as one HTML page, to keep or to print."),
    "json": ("JSON", "For programs; without the patient."),
    "csv": ("CSV", "For spreadsheets; without the patient."),
}
"""The button of each kind of file, and its help."""

REPORT: Final = "Falx: report"
REPORT_HEADING: Final = "Falx: report on {slices} of a brain MRI"
REPORT_PATIENT: Final = "Patient"
REPORT_SCANNED: Final = "Scan date"
REPORT_MADE: Final = "Report made"
NOT_GIVEN: Final = "not given"
MODEL: Final = "Model"
THE_SLICE: Final = "The slice."
PAGE_NUMBER: Final = "{number} of {total}"
NO_FONT: Final = "no font of this server has {letters}: install one, such as Noto"
NO_PDF: Final = "No PDF: no font of this server has {letters}; print the web page instead."
