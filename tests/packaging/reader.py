"""A reader of a page: a folder with what the page takes, drawn, in which its commands are typed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import numpy as np
from benchmarks.ports import free_port
from PIL import Image
from tests.guides import ROOT
from tests.packaging.commands import SERVERS
from tests.reading.dicom import made
from tests.reading.dicom.test_studies import series, volume
from tests.trainer.conftest import draw_head

from falx import phantom
from falx.model import file as model_file
from falx.model.file import DEFAULT_MODEL
from falx.words import LABELS

RELEASE = model_file.read(DEFAULT_MODEL)[0].name
PATIENCE_S = 1800

PORTS = (8000, 8080, 8104, 8501, 8786, 6006, 11112)
"""Ports that pages name, or that are a command's own."""

WEIGHTS = "../shared/weights/mobilenet_v2_imagenet_notop.weights.h5"
SELF_CONTAINED = f"{ROOT}/models/{RELEASE}/{RELEASE}-float32-self-contained.onnx"

MEANT = {
    r"\bNAME\b": RELEASE,
    r"\bFILE(-self-contained\.onnx)?(?!\S)": SELF_CONTAINED,
    r"\bRUN\b": "runs/mine",
    r"\bDIR\b": "out",
    r"\bHOST\b": "127.0.0.1",
    r"\bWEIGHTS\b|(?<=--weights )imagenet": WEIGHTS,
    r"\bCOMMIT\b": f"$(git -C {ROOT} log -1 --format=%H --diff-filter=A -- models/falx-4)",
    r"^git show": f"git -C {ROOT} show",
    "/var/lib/falx": "spool",
    "/shared/answers": "shared-answers",
    r"0\.0\.0\.0": "127.0.0.1",
    "~/falx": "home/falx",
}
"""The words of this machine for those that a reader replaces."""

FALX = """#!/bin/sh
if [ -x "{venv}/falx" ]; then unset PYTHONPATH; exec "{venv}/falx" "$@"; fi
exec "{python}" -m falx "$@"
"""


class Reader:
    """Types commands in a checkout of its own.

    Attributes:
        folder: the checkout.
        installs: whether there is an environment to install into.
    """

    def __init__(self, folder: Path, *, installs: bool = False) -> None:
        self.folder = folder
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        self._python = Path(sys.executable)
        self._ports = {number: free_port() for number in PORTS}
        bin_folder, environment = folder.parent / "bin", folder.parent / "environment"
        bin_folder.mkdir()
        (bin_folder / "falx").write_text(FALX.format(venv=environment / "bin", python=sys.executable))
        (bin_folder / "falx").chmod(0o755)
        if installs:
            venv.create(environment, with_pip=True)
            pip = environment / "bin" / "pip"
            # `--group` came with 25.1.
            subprocess.run([pip, "install", "--quiet", "--upgrade", "pip"], check=True)
            (bin_folder / "pip").symlink_to(pip)
            self._python = environment / "bin" / "python"
        roots = [folder, *(folder / root for root in ("runtime", "export", "trainer"))]
        self._environment = os.environ | {
            "PATH": os.pathsep.join(
                [
                    *map(str, (bin_folder, Path(sys.executable).parent, environment / "bin")),
                    os.environ["PATH"],
                ]
            ),
            "PYTHONPATH": os.pathsep.join(map(str, roots)),
            "PYTHONWARNINGS": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def means(self, command: str) -> str:
        """Returns a command with what stands on this machine for the words to replace."""
        for word, here in MEANT.items():
            command = re.sub(word, here, command)
        for number, port in self._ports.items():
            command = re.sub(rf"\b{number}\b", str(port), command)
        # The page on archives installs what its program and its measurement need.
        command = re.sub(r"^python (?=examples|-m benchmarks\.archive)", f"{self._python} ", command)
        return command.replace("python -m pip ", "pip ")

    def types(self, command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; what it would replace is taken away first."""
        out = re.search(r"--out (exported|runs/[\w-]+|report)\b", command)
        if out:
            shutil.rmtree(self.folder / out[1], ignore_errors=True)
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.means(command)],
            cwd=cwd or self.folder,
            env=self._environment,
            input="y\n",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def starts(self, command: str, server: str, cwd: Path | None = None) -> None:
        """Starts a command that runs until it is stopped, and waits until it listens."""
        number = SERVERS[server]
        if server != "dask worker":
            self.stop(number)
        log = (self.folder.parent / "server.log").open("ab")
        process = subprocess.Popen(
            ["bash", "-euc", "exec " + self.means(command)],
            cwd=cwd or self.folder,
            env=self._environment,
            stdout=log,
            stderr=log,
        )
        log.close()
        self._servers[-number if server == "dask worker" else number] = process
        until = time.monotonic() + 120
        while True:
            assert process.poll() is None, Path(log.name).read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._ports[number])):
                return
            assert time.monotonic() < until, command
            time.sleep(0.1)

    def stop(self, number: int) -> None:
        """Ends a server, which must be running still."""
        if process := self._servers.pop(number, None):
            assert process.poll() is None, (self.folder.parent / "server.log").read_text()
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)

    def leaves(self) -> None:
        """Ends all servers."""
        for number in sorted(self._servers):
            self.stop(number)


def checkout(folder: Path) -> None:
    """Copies the files of this checkout that are committed, or may be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def slices(folder: Path) -> None:
    """Draws what is small: slices, an examination, a volume, a model of one's own."""
    clear, lesion = Image.fromarray(phantom.clear()), Image.fromarray(phantom.lesion())
    lesion.save(folder / "slice.png")
    lesion.save(folder / "slice.jpg")
    for place in ("scans/glioma", "shots"):
        (folder / place).mkdir(parents=True)
        for number in range(3):
            clear.save(folder / place / f"{number}.png")
    np.save(folder / "slice.npy", phantom.lesion().astype(np.int16) * 4)
    np.save(folder / "volume.npy", np.stack([phantom.clear()] * 3).astype(np.int16))
    series(folder / "exam", count=8)
    shutil.copytree(folder / "exam", folder / "path" / "to" / "study")
    for number, file in enumerate(sorted((folder / "exam").iterdir())[:2]):
        shutil.copy(file, folder / f"{number + 1}.dcm")
    (folder / "scan.dcm").write_bytes(made.written(made.dataset(phantom.lesion(), SOPInstanceUID="1.2.3")))
    with zipfile.ZipFile(folder / "examination.zip", "w") as archive:
        for file in (folder / "exam").iterdir():
            archive.write(file, file.name)
    head = phantom.clear()[::-1, ::-1].T
    volume(folder / "head.nii.gz", np.stack([head] * 3, axis=2), np.diag([1.0, 1.0, 5.0, 1.0]))
    (folder / "exported").mkdir()
    shutil.copy(DEFAULT_MODEL, folder / "exported" / "mine-int8.tflite")
    shutil.copy(ROOT / "models" / RELEASE / f"{RELEASE}-int8.onnx", folder / "model.onnx")
    (folder / "report").mkdir()
    for name in ("thresholds.json", "report/thresholds.json"):
        (folder / name).write_text('{"no_tumor": 0.95}')


def collections(shared: Path) -> None:
    """Draws what lies beside a checkout for training and measuring."""
    import keras

    data, pictures, studies, weights = (shared / name for name in ("data", "outliers", "studies", "weights"))
    for place in (data, pictures, studies, weights):
        place.mkdir()
    lines = ["path,label,source,group,split,sequence,plane,boxes"]
    for label in LABELS:
        for index in range(70):
            tumor, name = label != "no_tumor", f"{label}-{index}.png"
            pixels, box = draw_head(1000 * LABELS.index(label) + index, lesion=tumor)
            if index >= 60:  # Not rejected by a release.
                seen = (phantom.lesion() if tumor else phantom.clear()) * (0.7 + 0.03 * (index - 60))
                pixels, box, name = seen.astype(np.uint8), None, f"seen-{name}"
            Image.fromarray(pixels).save(data / name)
            split = ("train", "train", "train", "val", "test")[index % 5]
            source = ("feltrin", "nichart", "tcga_lgg")[index % 3]
            boxes = "" if box is None else f"{box.x} {box.y} {box.width} {box.height}"
            sequence = ("T1", "T2", "T1C+", "FLAIR")[index % 4]
            lines.append(f"{name},{label},{source},{label}{index},{split},{sequence},axial,{boxes}")
    (data / "manifest.csv").write_text("\n".join(lines) + "\n")
    lines = ["path,kind,group,split"]
    for index, split in enumerate(("train", "train", "val", "test")):
        for kind in ("head_end", "photo"):
            Image.effect_noise((64 + index, 64), 60).save(pictures / f"{kind}-{index}.png")
            lines.append(f"{kind}-{index}.png,{kind},{kind}{index},{split}")
    (pictures / "manifest.csv").write_text("\n".join(lines) + "\n")
    lines = ["path,label,source,group,sequence,plane,split,slices,note"]
    cells = np.stack([phantom.clear()[::-1, ::-1].T] * 14, axis=2)
    for split in ("train", "val", "test"):
        volume(studies / f"{split}.nii", cells, np.diag([1.0, 1.0, 10.0, 1.0]))
        lines.append(f"{split}.nii,no_tumor,drawn,{split},T1,axial,{split},,")
    (studies / "manifest.csv").write_text("\n".join(lines) + "\n")
    backbone = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=None)
    backbone.save_weights(weights / Path(WEIGHTS).name)


def own(folder: Path) -> None:
    """Puts slices of one's own into a checkout, a run that was trained, and the model of an older release."""
    shutil.rmtree(folder / "scans")
    for label in LABELS:
        (folder / "scans" / label).mkdir(parents=True)
        for file in (folder.parent / "shared" / "data").glob(f"{label}-*.png"):
            shutil.copy(file, folder / "scans" / label)
    for run in ("mine", RELEASE):
        shutil.copytree(ROOT / "models" / RELEASE, folder / "runs" / run)
        first, *rows = (folder.parent / "shared" / "data" / "manifest.csv").read_text().splitlines()
        listed = "\n".join([first, *(f"../../../shared/data/{row}" for row in rows)])
        (folder / "runs" / run / "data.csv").write_text(listed + "\n")
    (folder / "models" / "falx-5").mkdir()
    shutil.copy(DEFAULT_MODEL, folder / "models" / "falx-5" / "falx-5-int8.tflite")
