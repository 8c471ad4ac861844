"""Orthanc: each study that has become stable is classified, and the report is stored in the same study.

In Orthanc's configuration: "Plugins": ["libOrthancPython.so"], "PythonScript": "falx_plugin.py". The command
is `falx`, or what FALX_COMMAND says; it runs in a process of its own, so nothing it does can harm Orthanc.
"""

import hashlib
import json
import os
import queue
import shlex
import subprocess
import tempfile
import threading
from pathlib import Path

import orthanc

COMMAND = shlex.split(os.environ.get("FALX_COMMAND", "falx"))
REPORTED = "4719"  # Orthanc keeps numbers from 1024 for metadata of one's own.
TIMEOUT_S = 600

stable = queue.Queue()


def get(uri):
    """What Orthanc answers, read as JSON."""
    return json.loads(orthanc.RestApiGet(uri))


def classify(study):
    """Classify the MR images of a study that were not yet, and store the report."""
    series = [one for one in get(f"/studies/{study}/series") if one["MainDicomTags"].get("Modality") == "MR"]
    images = sorted(instance for one in series for instance in one["Instances"])
    # The report makes the study stable anew: the same images are not classified again.
    content = hashlib.sha256("".join(images).encode()).hexdigest()
    known = f"/studies/{study}/metadata/{REPORTED}"
    if not images or (
        REPORTED in get(f"/studies/{study}/metadata?numeric")
        and orthanc.RestApiGet(known).decode() == content
    ):
        return
    with tempfile.TemporaryDirectory(prefix="falx-") as name:
        folder, report = Path(name, "images"), Path(name, "report.dcm")
        folder.mkdir()
        for image in images:
            (folder / f"{image}.dcm").write_bytes(orthanc.GetDicomForInstance(image))
        command = [*COMMAND, "study", str(folder), "--json", "--sr", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)  # noqa: S603
        if not report.exists():
            orthanc.LogError(f"Falx: study {study}: no report, exit status {done.returncode}")
            return
        orthanc.RestApiPost("/instances", report.read_bytes())
    orthanc.RestApiPut(known, content)
    orthanc.LogWarning(f"Falx: study {study}: {len(images)} images, {json.loads(done.stdout)['decision']}")


def work():
    """Classify what has become stable, one study after the other."""
    while True:
        study = stable.get()
        try:
            classify(study)
        except Exception as error:  # noqa: BLE001 - by its class alone: it could quote an image's header
            orthanc.LogError(f"Falx: study {study}: {type(error).__name__}")


def on_change(change, level, resource):  # noqa: ARG001 - as Orthanc calls it
    """Note a stable study: Orthanc waits for this function, so the work is done beside it."""
    if change == orthanc.ChangeType.STABLE_STUDY:
        stable.put(resource)


threading.Thread(target=work, daemon=True).start()
orthanc.RegisterOnChangeCallback(on_change)
