"""The folder in which `falx listen` keeps everything, so that nothing is lost when it is killed.

A folder serves better than a database: the images are files anyway, and a second place that says what is
there could disagree with them after a crash. Each step is a rename within one file system, which happens
wholly or not at all; files are flushed to the disk before they are renamed, and their folder afterwards.

| in the folder | content |
|---|---|
| `lock` | held by the one process that works here |
| `incoming/` | files that are half written; emptied at every start |
| `studies/STUDY/new/` | images received and acknowledged, and not yet looked at |
| `studies/STUDY/batch-N/` | images being classified for the N-th time that something new came |
| `studies/STUDY/kept/` | images already reported, kept a while in case more of the study come |
| `studies/STUDY/aside/` | images that could not be classified, see `Spool.set_aside` |
| `studies/STUDY/tries` | how often a batch was begun and not finished: the next try waits accordingly |
| `studies/STUDY/failed` | how often its classification failed |
| `outbox/RESULT/` | results to be sent, and `record.json`: of which study, from which images |
| `sent/RESULT/` | the record alone, so that the same images are not reported twice |

STUDY is a Study Instance UID, RESULT a SOP Instance UID. The UID of a result depends on its images and the
model alone, so a result that is made again after a crash has the name of the first and does not replace it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from falx.workstation.errors import SpoolError, SpoolFull
from falx.writing import lacks_room, locked, write_through

IDENTIFIER: Final = re.compile(r"[0-9][0-9.]{0,63}")
"""A unique identifier that may become the name of a file: digits and dots, and a digit first."""

REMEMBER_S: Final = 90 * 24 * 3600
"""Seconds for which the record of a sent result is kept: so long its images are not reported again."""

STUCK: Final = 2
"""A study is stuck when its batch was begun more often than this and not finished."""

COUNTERS: Final = ("tries", "failed")
"""Files that hold a number; they do not count in the size."""


class StudyOutcome(TypedDict):
    """The decision on a study, and the slices and the reason's code of each series not used."""

    decision: str
    label: str | None
    confidence: float | None
    not_used: list[str]


class MadeReport(TypedDict):
    """The SOP Instance UID of a report, and the outcome that it tells."""

    uid: str
    outcome: StudyOutcome


class ResultRecord(StudyOutcome):
    """The part of a result that is kept: outcome, study, number of the batch and UIDs of the images."""

    study: str
    batch: int
    images: list[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one study to be classified together: the N-th batch, from 1.

    The folder holds the fresh ones, `images` all of the study that are at hand, by their SOP Instance UIDs.
    Where its result is `published`, a process was killed before it finished the batch.
    """

    study: str
    folder: Path
    number: int
    published: bool
    fresh: frozenset[str]
    images: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Result:
    """A report and its pictures, to be sent; the file of the report comes first."""

    uid: str
    study: str
    files: tuple[Path, ...]


class Spool:
    """The folder, as one process works in it; its methods may be called from several threads."""

    def __init__(self, path: Path, *, limit_bytes: int, keep_s: float) -> None:
        """Takes the folder for this process, and clears away what was half written.

        It is made if it is missing, for this user alone to read. At `limit_bytes` it takes no more images;
        those that are reported are kept for `keep_s`.
        """
        self.path = path
        self._limit, self._keep_s = limit_bytes, keep_s
        self._guard = threading.RLock()
        try:
            for name in ("incoming", "studies", "outbox", "sent"):
                (path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (path / "lock").open("a")
            mine = locked(self._lock.fileno())
        except OSError as error:
            raise SpoolError(f"{path}: cannot be the spool: {error.strerror or error}") from error
        if not mine:
            self._lock.close()
            raise SpoolError(f"{path}: another `falx listen` works in this spool; give it one of its own")
        for left in (path / "incoming").iterdir():
            _remove(left)
        self._forget()
        self.size = sum(
            file.stat().st_size for file in path.rglob("*") if file.is_file() and file.name not in COUNTERS
        )
        self._reported = self._records()

    def close(self) -> None:
        """Leaves the folder to other processes."""
        self._lock.close()

    @property
    def full(self) -> bool:
        """True while the folder holds as much as it may."""
        return self.size >= self._limit

    def store(self, study: str, instance: str, data: bytes) -> None:
        """Keeps an image; it is on the disk when this returns, whatever happens to the machine."""
        for uid in (study, instance):
            if not IDENTIFIER.fullmatch(uid):
                raise ValueError("expected an identifier of digits and dots")
        self._make_room(len(data))
        written = self.path / "incoming" / uuid.uuid4().hex
        try:
            write_through(written, data)
        except OSError as error:
            self._grow(-len(data))
            if lacks_room(error):
                raise SpoolFull(f"{self.path}: the disk is full") from error
            raise
        folder = self.path / "studies" / study / "new"
        # A batch is begun by renaming `new`: not between making it and moving the image into it.
        with self._guard:
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{instance}.dcm"
            before = target.stat().st_size if target.exists() else 0
            written.replace(target)
            flush = _opened(folder)
            parents = [_opened(folder.parent), _opened(folder.parent.parent)] if made else []
        self._grow(-before)
        for descriptor in (flush, *parents):
            _flush(descriptor)

    def waiting(self) -> list[str]:
        """Returns studies with images in no batch, and those whose batch a killed process left."""
        with self._guard:
            return [
                study.name
                for study in sorted((self.path / "studies").iterdir())
                if (study / "new").is_dir() or _batches(study)
            ]

    def tries(self, study: str) -> int:
        """Returns how often the batch of a study was begun and not finished."""
        return _number(self.path / "studies" / study / "tries")

    def begin(self, study: str) -> Batch | None:
        """Takes the new images of a study, or those that a killed process had; None if there are none."""
        with self._guard:
            folder = self.path / "studies" / study
            numbers = [number for number, _ in self._reported.get(study, {}).values()]
            left = _batches(folder)
            if left:
                taken = left[0]
            elif (folder / "new").is_dir():
                taken = folder / f"batch-{max(numbers, default=0) + 1}"
                (folder / "new").rename(taken)
                _start_counting(folder)
            else:
                return None
            # Something new came, so what was set aside is tried again with it.
            self._take(folder / "aside", taken)
            (folder / "tries").write_text(str(self.tries(study) + 1))
            _flush(_opened(folder))
            number, fresh = int(taken.name.partition("-")[2]), _images(taken)
            images = _images(folder / "kept") | fresh
            return Batch(study, taken, number, number in numbers, frozenset(fresh), images)

    def reported(self, study: str) -> frozenset[str]:
        """Returns the SOP Instance UIDs of a study's images that are in a report."""
        with self._guard:
            return frozenset().union(*(images for _, images in self._reported.get(study, {}).values()))

    def failed(self, batch: Batch) -> int:
        """Counts that a batch could not be classified; returns how often, this time included."""
        file = batch.folder.parent / "failed"
        with self._guard:
            times = _number(file) + 1
            file.write_text(str(times))
            _flush(_opened(file))
        return times

    def set_aside(self, batch: Batch) -> None:
        """Gives up a batch.

        Its images stay until more of the study, or the same images, are received: then `begin` takes them.
        Whoever has mended the fault may also rename `aside` to `new` while no process works here.
        """
        with self._guard:
            batch.folder.rename(batch.folder.parent / "aside")
            _flush(_opened(batch.folder.parent))
            _start_counting(batch.folder.parent)

    def publish(self, batch: Batch, write: Callable[[Path], MadeReport]) -> ResultRecord:
        """Puts a result into the outbox, whole or not at all, and returns its record.

        `write` writes `001.dcm`, `002.dcm`, ... into an empty folder, and returns what the report tells.
        """
        folder = self.path / "incoming" / uuid.uuid4().hex
        folder.mkdir()
        try:
            report = write(folder)
            record: ResultRecord = {
                "study": batch.study,
                "batch": batch.number,
                "images": sorted(batch.images),
                **report["outcome"],
            }
            (folder / "record.json").write_text(json.dumps(record))
            for file in (*folder.iterdir(), folder):
                _flush(_opened(file))
        except BaseException:
            _remove(folder)
            raise
        size = _size(folder)
        with self._guard:
            target = self.path / "outbox" / report["uid"]
            folder.rename(target)
            _flush(_opened(target.parent))
            self._reported.setdefault(batch.study, {})[report["uid"]] = batch.number, frozenset(batch.images)
        self._grow(size)
        return record

    def finish(self, batch: Batch) -> None:
        """Keeps a batch's images beside those reported before, in case more of the study come."""
        with self._guard:
            kept = batch.folder.parent / "kept"
            kept.mkdir(exist_ok=True)
            for image in batch.folder.iterdir():
                target = kept / image.name
                if target.exists():
                    self._grow(-target.stat().st_size)
                image.replace(target)
            batch.folder.rmdir()
            _start_counting(batch.folder.parent)
            os.utime(kept)

    def outbox(self) -> list[Result]:
        """Returns the results to be sent, the oldest first."""
        folders = sorted((self.path / "outbox").iterdir(), key=lambda item: item.stat().st_mtime_ns)
        return [
            Result(folder.name, _record(folder)["study"], tuple(sorted(folder.glob("*.dcm"))))
            for folder in folders
        ]

    def sent(self, result: Result) -> None:
        """Notes that a result has arrived: its record is kept, its files are removed."""
        target = self.path / "sent" / result.uid
        (self.path / "outbox" / result.uid).rename(target)
        for folder in (target.parent, self.path / "outbox"):
            _flush(_opened(folder))
        for file in target.glob("*.dcm"):
            self._grow(-file.stat().st_size)
            file.unlink()

    def tidy(self) -> None:
        """Removes reported images whose time is over, and studies of which nothing is left."""
        limit = time.time() - self._keep_s
        with self._guard:
            for kept in self._kept():
                if kept.stat().st_mtime <= limit:
                    self._discard(kept)

    def counts(self) -> dict[str, int]:
        """Returns how many studies wait, and how many results and failures there are."""
        waiting = self.waiting()
        return {
            "studies_waiting": len(waiting),
            "results_to_send": len(list((self.path / "outbox").iterdir())),
            "results_sent": len(list((self.path / "sent").iterdir())),
            "studies_stuck": sum(self.tries(study) > STUCK for study in waiting),
            "studies_set_aside": len(list((self.path / "studies").glob("*/aside"))),
        }

    def _make_room(self, size: int) -> None:
        """Counts bytes in, after removing reported images, the oldest first, as far as needed."""
        with self._guard:
            for kept in self._kept() if self.size + size > self._limit else []:
                self._discard(kept)
                if self.size + size <= self._limit:
                    break
            if self.size + size > self._limit:
                raise SpoolFull(f"{self.path}: the spool is full")
            self.size += size

    def _grow(self, size: int) -> None:
        with self._guard:
            self.size += size

    def _kept(self) -> list[Path]:
        folders = [kept for kept in (self.path / "studies").glob("*/kept") if not _batches(kept.parent)]
        return sorted(folders, key=lambda folder: folder.stat().st_mtime)

    def _discard(self, kept: Path) -> None:
        self._grow(-_size(kept))
        _remove(kept)
        study = kept.parent
        if not (study / "new").exists() and not (study / "aside").exists() and not _batches(study):
            _remove(study)

    def _take(self, aside: Path, taken: Path) -> None:
        """Moves what was set aside into a batch; an image that was received again stays as it came last."""
        if not aside.exists():
            return
        for image in aside.iterdir():
            if (taken / image.name).exists():
                self._grow(-image.stat().st_size)
                image.unlink()
            else:
                image.replace(taken / image.name)
        aside.rmdir()

    def _forget(self) -> None:
        """Removes old records, and files of results that were sent when the process was killed."""
        limit = time.time() - REMEMBER_S
        for sent in (self.path / "sent").iterdir():
            if sent.stat().st_mtime < limit:
                _remove(sent)
                continue
            for file in sent.glob("*.dcm"):
                file.unlink()

    def _records(self) -> dict[str, dict[str, tuple[int, frozenset[str]]]]:
        known: dict[str, dict[str, tuple[int, frozenset[str]]]] = {}
        for folder in (*(self.path / "outbox").iterdir(), *(self.path / "sent").iterdir()):
            record = _record(folder)
            found = record["batch"], frozenset(record["images"])
            known.setdefault(record["study"], {})[folder.name] = found
        return known


def _record(folder: Path) -> ResultRecord:
    record: ResultRecord = json.loads((folder / "record.json").read_text())
    return record


def _batches(study: Path) -> list[Path]:
    return sorted(study.glob("batch-*"))


def _images(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*.dcm"))}


def _start_counting(study: Path) -> None:
    for name in COUNTERS:
        (study / name).unlink(missing_ok=True)


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _opened(path: Path) -> int | None:
    """Opens a file or folder to be flushed; returns None for a folder on Windows, which cannot be opened."""
    if path.is_dir() and os.name == "nt":
        return None
    return os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)


def _flush(descriptor: int | None) -> None:
    if descriptor is not None:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
