from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from falx.errors import FalxError
from falx.workstation.errors import SpoolFull
from falx.workstation.node.spool import COUNTERS, Batch, MadeReport, Spool, StudyOutcome

STUDY, OTHER = "1.2.3", "1.2.4"


def opened(folder: Path, limit_bytes: int = 1000, keep_s: float = 3600.0) -> Spool:
    return Spool(folder, limit_bytes=limit_bytes, keep_s=keep_s)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = opened(tmp_path)
    yield made
    made.close()


def begun(spool: Spool, study: str = STUDY) -> Batch:
    batch = spool.begin(study)
    assert batch is not None
    return batch


def published(spool: Spool, batch: Batch, uid: str) -> None:
    spool.publish(batch, lambda folder: _write(folder, uid))


OUTCOME: StudyOutcome = {
    "decision": "ambiguous",
    "label": None,
    "confidence": None,
    "not_used": ["8 localizer"],
}


def _write(folder: Path, uid: str) -> MadeReport:
    (folder / "001.dcm").write_bytes(b"result")
    return {"uid": uid, "outcome": OUTCOME}


def on_disk(folder: Path) -> int:
    return sum(
        file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.name not in COUNTERS
    )


def test_what_is_stored_becomes_a_batch_a_result_and_a_record(spool: Spool) -> None:
    spool.store(STUDY, "9.1", b"one")
    spool.store(STUDY, "9.2", b"two")
    assert spool.waiting() == [STUDY]
    batch = begun(spool)
    assert (batch.number, batch.published, batch.fresh) == (1, False, frozenset({"9.1", "9.2"}))
    assert [path.read_bytes() for path in batch.images.values()] == [b"one", b"two"]
    published(spool, batch, "7.1")
    spool.finish(batch)
    assert spool.waiting() == []
    assert spool.reported(STUDY) == {"9.1", "9.2"}
    (result,) = spool.outbox()
    assert (result.uid, result.study, [file.name for file in result.files]) == ("7.1", STUDY, ["001.dcm"])
    spool.sent(result)
    assert spool.outbox() == []
    record = json.loads((spool.path / "sent" / "7.1" / "record.json").read_text())
    assert record == {"study": STUDY, "batch": 1, "images": ["9.1", "9.2"], **OUTCOME}
    assert spool.size == on_disk(spool.path)


def test_late_images_come_with_those_before_them(spool: Spool) -> None:
    spool.store(STUDY, "9.1", b"one")
    batch = begun(spool)
    # It comes while the first is being classified, and is no part of that.
    spool.store(STUDY, "9.2", b"two")
    published(spool, batch, "7.1")
    spool.finish(batch)
    assert spool.waiting() == [STUDY]
    later = begun(spool)
    assert (later.number, later.fresh, set(later.images)) == (2, frozenset({"9.2"}), {"9.1", "9.2"})


@pytest.mark.parametrize("step", ["received", "begun", "published", "finished", "sent"])
def test_a_killed_process_leaves_nothing_lost_and_nothing_twice(tmp_path: Path, step: str) -> None:
    spool = opened(tmp_path)
    spool.store(STUDY, "9.1", b"one")
    (tmp_path / "incoming" / "half").write_bytes(b"written")
    if step != "received":
        batch = begun(spool)
        if step != "begun":
            published(spool, batch, "7.1")
        if step in ("finished", "sent"):
            spool.finish(batch)
        if step == "sent":
            # Killed between the rename and the removal of what was sent.
            (tmp_path / "outbox" / "7.1").rename(tmp_path / "sent" / "7.1")
    spool.close()

    again = opened(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []
    assert again.size == on_disk(tmp_path)
    left = again.begin(STUDY)
    if step in ("finished", "sent"):
        assert left is None
    else:
        assert left is not None
        assert left.fresh == {"9.1"}
        assert left.published == (step == "published")
        again.finish(left)
    assert [result.uid for result in again.outbox()] == (["7.1"] if step in ("published", "finished") else [])
    assert list((tmp_path / "sent").glob("*/*.dcm")) == []
    again.close()


def test_a_batch_that_is_begun_again_and_again_is_counted(tmp_path: Path) -> None:
    for tries in range(3):
        spool = opened(tmp_path)
        spool.store(STUDY, "9.1", b"one") if tries == 0 else None
        assert spool.tries(STUDY) == tries
        batch = begun(spool)
        assert spool.counts()["studies_stuck"] == (tries == 2)
        spool.close()
    spool = opened(tmp_path)
    spool.finish(batch)
    assert spool.tries(STUDY) == 0
    spool.close()


def test_what_is_set_aside_stays_and_is_taken_with_what_comes_later(tmp_path: Path) -> None:
    spool = opened(tmp_path, limit_bytes=100, keep_s=0)
    spool.store(STUDY, "9.1", b"kept")
    spool.finish(begun(spool))
    spool.store(STUDY, "9.2", b"two")
    spool.store(STUDY, "9.3", b"three")
    batch = begun(spool)
    assert [spool.failed(batch), spool.failed(batch)] == [1, 2]
    spool.close()
    # The count outlives the process; the same batch is begun again.
    spool = opened(tmp_path, limit_bytes=100, keep_s=0)
    batch = begun(spool)
    assert spool.failed(batch) == 3
    spool.set_aside(batch)
    assert (spool.waiting(), spool.begin(STUDY), spool.counts()["studies_set_aside"]) == ([], None, 1)
    # Neither when its time is over nor for want of room.
    spool.tidy()
    with pytest.raises(SpoolFull):
        spool.store(OTHER, "9.9", bytes(95))
    assert spool.size == on_disk(tmp_path) == 8
    spool.close()

    spool = opened(tmp_path)
    assert (spool.waiting(), spool.counts()["studies_set_aside"]) == ([], 1)
    spool.store(STUDY, "9.2", b"mended")
    batch = begun(spool)
    assert {uid: file.read_bytes() for uid, file in batch.images.items()} == {
        "9.2": b"mended",
        "9.3": b"three",
    }
    assert batch.fresh == {"9.2", "9.3"}
    assert spool.counts()["studies_set_aside"] == 0
    assert spool.failed(batch) == 1
    spool.finish(batch)
    assert [file.name for file in (tmp_path / "studies" / STUDY).iterdir()] == ["kept"]
    assert spool.size == on_disk(tmp_path) == 11
    spool.close()


def test_a_full_spool_gives_up_reported_images_and_no_others(tmp_path: Path) -> None:
    spool = opened(tmp_path, limit_bytes=300)
    spool.store(STUDY, "9.1", bytes(150))
    spool.finish(begun(spool))
    spool.store(OTHER, "9.2", bytes(140))
    assert (tmp_path / "studies" / STUDY).exists()
    spool.store(OTHER, "9.3", bytes(100))
    assert not (tmp_path / "studies" / STUDY).exists()
    with pytest.raises(SpoolFull):
        spool.store(OTHER, "9.4", bytes(100))
    assert set(begun(spool, OTHER).images) == {"9.2", "9.3"}
    assert spool.size == on_disk(tmp_path) == 240
    spool.close()


def test_a_full_disk_is_a_full_spool(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SpoolFull):
        spool.store(STUDY, "9.1", b"one")
    monkeypatch.undo()
    assert (spool.size, spool.waiting(), list((spool.path / "incoming").iterdir())) == (0, [], [])


def test_an_image_sent_twice_is_kept_once(spool: Spool) -> None:
    spool.store(STUDY, "9.1", b"one")
    spool.store(STUDY, "9.1", b"other")
    assert [path.read_bytes() for path in begun(spool).images.values()] == [b"other"]
    assert spool.size == on_disk(spool.path) == 5


def test_reported_images_are_removed_when_their_time_is_over(tmp_path: Path) -> None:
    spool = opened(tmp_path, keep_s=0)
    spool.store(STUDY, "9.1", b"one")
    spool.finish(begun(spool))
    spool.tidy()
    assert list((tmp_path / "studies").iterdir()) == []
    assert spool.size == 0
    spool.close()


def test_old_records_are_forgotten(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.store(STUDY, "9.1", b"one")
    batch = begun(spool)
    published(spool, batch, "7.1")
    spool.finish(batch)
    spool.sent(spool.outbox()[0])
    spool.close()
    os.utime(tmp_path / "sent" / "7.1", (0, 0))
    again = opened(tmp_path)
    assert again.reported(STUDY) == frozenset()
    again.close()


@pytest.mark.parametrize("uid", ["..", "../1", "1/2", "", "a", "1.2\n", "1" * 65])
def test_an_identifier_that_is_none_becomes_no_file(spool: Spool, uid: str) -> None:
    for study, instance in ((uid, "9.1"), (STUDY, uid)):
        with pytest.raises(ValueError, match="expected an identifier of digits and dots"):
            spool.store(study, instance, b"one")
    assert spool.size == 0


def test_one_process_works_in_a_spool_and_only_its_user_may_read_it(spool: Spool) -> None:
    with pytest.raises(FalxError, match=re.escape("another `falx listen` works in this spool")):
        opened(spool.path)
    if os.name != "nt":
        assert {folder.stat().st_mode & 0o077 for folder in spool.path.iterdir() if folder.is_dir()} == {0}


def test_a_spool_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FalxError, match="cannot be the spool"):
        opened(tmp_path / "file")


def test_what_fails_to_be_written_is_no_result(spool: Spool) -> None:
    spool.store(STUDY, "9.1", b"one")
    batch = begun(spool)

    def fail(folder: Path) -> MadeReport:
        _write(folder, "7.1")
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        spool.publish(batch, fail)
    assert spool.outbox() == []
    assert list((spool.path / "incoming").iterdir()) == []
