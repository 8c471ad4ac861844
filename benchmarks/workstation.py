"""Measures how long a study takes through the network: images in by C-STORE, report back by C-STORE.

    python -m benchmarks.workstation --slices 200 --out times.json
    python -m benchmarks.workstation --kills 30

dcmtk's storescu sends drawn heads of 512 x 512 pixels in 16 bits over the loopback to `falx listen`, which
classifies them and sends its report to dcmtk's storescp. The time runs from the start of storescu to the
whole report in storescp's folder, so it holds the wait until the study is quiet. The promise, and the exit
status (0 kept, 1 broken): under 20 s for 200 slices on 2 cores. Beside it stands how much memory the two
processes of the node had at most.

With `--kills`, the node is killed (SIGKILL) that often at random moments while studies come in, and started
again; every second time only its process that classifies is. The promise then: each study has exactly one
report in the end, of all its slices.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from benchmarks import figures
from benchmarks.ports import free_port
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from falx import phantom

PROMISE_S: Final = 20.0
PACKAGES: Final = ("falx", "highdicom", "pydicom", "pynetdicom", "numpy")
PLACES: Final = os.pathsep.join(["/usr/bin", os.environ.get("PATH", "")])
"""The system's programs first: pynetdicom installs some with the names of dcmtk's."""


def write_study(folder: Path, slices: int, side: int = 512) -> tuple[str, list[Path]]:
    """Writes a study of drawn heads, one in ten with a lesion; returns its UID and its files."""
    folder.mkdir(parents=True)
    study, series = generate_uid(), generate_uid()
    drawn = [np.asarray(Image.fromarray(one()).resize((side, side))) for one in phantom.PHANTOMS.values()]
    clear, lesion = [one.astype(np.uint16) * 8 for one in drawn]
    files = []
    for number in range(1, slices + 1):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MRImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "Drawn^Head", "1", "", "O"
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20260101", "120000", "1", ""
        data.Modality, data.BodyPartExamined, data.InstanceNumber = "MR", "HEAD", number
        data.ImageType = ["ORIGINAL", "PRIMARY"]
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, number]
        data.PixelSpacing, data.SliceThickness = [0.5, 0.5], 1
        data.Rows = data.Columns = side
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.PixelData = (lesion if number % 10 == 0 else clear).tobytes()
        files.append(folder / f"{number:04}.dcm")
        data.save_as(files[-1], enforce_file_format=True)
    return study, files


class Bench:
    """A node and the archive that its reports go to, in a folder of their own."""

    def __init__(self, folder: Path, quiet_s: float) -> None:
        """Starts the archive."""
        self._folder, self._quiet_s = folder, quiet_s
        self.archive = folder / "archive"
        self.archive.mkdir()
        self.port, archive_port = free_port(), free_port()
        self._destination = f"ARCHIVE@127.0.0.1:{archive_port}"
        command = [_program("storescp"), "-aet", "ARCHIVE", "-od", str(self.archive), str(archive_port)]
        self._archive = subprocess.Popen(command)  # noqa: S603 - dcmtk's
        self.node: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the node, and waits until it answers."""
        arguments = ["--spool", str(self._folder / "spool"), "--port", str(self.port)]
        arguments += ["--destination", self._destination, "--quiet", str(self._quiet_s), "--retry", "1"]
        log = (self._folder / "log").open("ab")
        self.node = subprocess.Popen([sys.executable, "-m", "falx", "listen", *arguments], stderr=log)  # noqa: S603
        log.close()
        echo = [_program("echoscu"), "-aec", "FALX", "127.0.0.1", str(self.port)]
        _until(lambda: subprocess.run(echo, capture_output=True).returncode == 0, 120)  # noqa: S603

    def send(self, files: Sequence[Path]) -> bool:
        """Sends files; returns whether storescu could send all of them."""
        command = [_program("storescu"), "-aec", "FALX", "127.0.0.1", str(self.port), *map(str, files)]
        return subprocess.run(command, capture_output=True).returncode == 0  # noqa: S603

    def kill(self) -> None:
        """Ends the node as a power cut would."""
        if self.node is not None:
            self.node.kill()
            self.node.wait()

    def classifying(self) -> int | None:
        """Returns the process that classifies; None where it has ended and no other was started yet."""
        assert self.node is not None  # noqa: S101 - our own invariant: `start` was called
        command = ["pgrep", "-P", str(self.node.pid)]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()  # noqa: S603
        return int(found[0]) if found else None

    def memory_mb(self) -> dict[str, int]:
        """Returns the most memory that the node and the process that classifies had, in megabytes; Linux."""
        assert self.node is not None  # noqa: S101 - our own invariant: `start` was called
        return {
            name: _peak_mb(pid)
            for name, pid in (("node_mb", self.node.pid), ("classifying_mb", self.classifying()))
            if pid is not None
        }

    def reports(self) -> list[Dataset]:
        """Returns the reports that have come back."""
        found: list[Dataset] = []
        for file in self.archive.iterdir():
            with contextlib.suppress(InvalidDicomError, EOFError):  # it is being written
                found.append(pydicom.dcmread(file))
        return found

    def close(self) -> None:
        """Ends both."""
        self.kill()
        self._archive.kill()
        self._archive.wait()


def timed(folder: Path, slices: int, quiet_s: float) -> dict[str, float]:
    """Sends one study, and times it: seconds, of which `sending` is storescu's part, and megabytes."""
    _, files = write_study(folder / "study", slices)
    bench = Bench(folder, quiet_s)
    try:
        bench.start()
        started = time.perf_counter()
        if not bench.send(files):
            raise SystemExit("storescu failed; see its output with the same files")
        sending = time.perf_counter() - started
        _until(bench.reports, 300)
        report = time.perf_counter() - started
        return {"sending_s": round(sending, 2), "report_s": round(report, 2), **bench.memory_mb()}
    finally:
        bench.close()


def survive(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kills the node at random moments while studies come in; counts the reports that came and were due."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    bench = Bench(folder, quiet_s=0.5)
    due: dict[str, int] = {}
    try:
        bench.start()
        for number in range(kills):
            study, files = write_study(folder / str(number), slices := chance.randint(1, 12), side=256)
            due[study] = slices
            command = [_program("storescu"), "-aec", "FALX", "127.0.0.1", str(bench.port), *map(str, files)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sender:  # noqa: S603
                time.sleep(chance.uniform(0, 2.5))
                if number % 2 and (child := bench.classifying()) is not None:
                    os.kill(child, signal.SIGKILL)
                else:
                    bench.kill()
                    bench.start()
            # What was not acknowledged is sent again, with the rest.
            if sender.returncode != 0:
                _until(functools.partial(bench.send, files), 60)
        _until(lambda: len({one.StudyInstanceUID for one in _whole(bench.reports(), due)}) == kills, 300)
        whole = _whole(bench.reports(), due)
        return {
            "kills": kills,
            "studies": len(due),
            "reported_whole": len(whole),
            "reports": len(bench.reports()),
        }
    finally:
        bench.close()


def _whole(reports: Sequence[Dataset], due: dict[str, int]) -> list[Dataset]:
    """Returns the reports of all slices of their study.

    A study that was cut off half way may have been reported before the rest of it came, as any study whose
    images come with a pause.
    """
    return [
        one
        for one in reports
        if sum(
            len(series.ReferencedSOPSequence)
            for series in one.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        )
        == due[one.StudyInstanceUID]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.workstation", __doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--quiet", type=float, default=10.0, help="seconds; the node's default is 10")
    parser.add_argument("--kills", type=int, default=0, help="kill the node so often instead")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    setting = figures.machine(PACKAGES)
    with tempfile.TemporaryDirectory(prefix="falx-") as name:
        if options.kills:
            found: dict[str, Any] = survive(Path(name), options.kills, options.seed)
            kept = found["studies"] == found["reported_whole"]
        else:
            found = {"slices": options.slices, "quiet_s": options.quiet}
            found |= timed(Path(name), options.slices, options.quiet)
            kept = found["report_s"] < PROMISE_S
    figures.tell(setting, [{**found, "kept": kept}], options.out)
    return 0 if kept else 1


def _peak_mb(pid: int) -> int:
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")
    ]
    return round(int(line.split()[1]) / 1024)


def _program(name: str) -> str:
    found = shutil.which(name, path=PLACES)
    if found is None:
        raise SystemExit(f"{name} is not installed: install dcmtk")
    return found


def _until(condition: Callable[[], Any], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {timeout_s:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
