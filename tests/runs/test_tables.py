from __future__ import annotations

from falx_runs.tables import aligned


def test_words_begin_and_numbers_end_where_their_column_does() -> None:
    rows = [("label", "kind", "slices"), ("glioma", "a", "12"), ("x", "bcdef", "3")]
    assert aligned(rows, text=2) == [
        "label   kind   slices",
        "glioma  a          12",
        "x       bcdef       3",
    ]


def test_lines_have_no_blanks_at_the_end() -> None:
    assert aligned([("a", "note"), ("b", "")], text=2) == ["a  note", "b"]
