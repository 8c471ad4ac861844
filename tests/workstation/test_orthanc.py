"""Falx beside a real Orthanc: as a modality of it, and as the example's plugin in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.ports import free_port
from tests import guides
from tests.waiting import until
from tests.workstation.peers import SECRET, Process, WrittenStudy, call, program, write_study

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "workstation.md"
PLUGIN = CHECKOUT / "examples" / "orthanc" / "falx_plugin.py"
PYTHON_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPython.so")


@dataclass
class Orthanc:
    """A server with an empty archive."""

    http: int
    dicom: int
    log: Path

    def ask(self, path: str, body: bytes | None = None, method: str | None = None) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - of this machine
            return json.load(answer)

    def up(self) -> bool:
        try:
            return bool(self.ask("/system"))
        except OSError:
            return False

    def put(self, study: WrittenStudy) -> str:
        """Store a study; its identifier in Orthanc."""
        found = {self.ask("/instances", file.read_bytes())["ParentStudy"] for file in study.files}
        (identifier,) = found
        return str(identifier)

    def reports(self, identifier: str) -> list[dict[str, Any]]:
        series = self.ask(f"/studies/{identifier}/series")
        return [one for one in series if one["MainDicomTags"]["Modality"] == "SR"]

    def content(self, report: dict[str, Any]) -> str:
        return json.dumps(self.ask(f"/instances/{report['Instances'][0]}/simplified-tags"))


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """Start Orthanc with further settings and variables of the environment."""
    started = []

    def start(settings: dict[str, Any], **environment: str) -> Orthanc:
        made = Orthanc(free_port(), free_port(), tmp_path / "orthanc.log")
        plain = {
            "StorageDirectory": str(tmp_path / "orthanc"),
            "IndexDirectory": str(tmp_path / "orthanc"),
            "HttpPort": made.http,
            "DicomPort": made.dicom,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StableAge": 1,
            "Plugins": [],
        }
        file = tmp_path / "orthanc.json"
        file.write_text(json.dumps(plain | settings))
        with made.log.open("ab") as log:
            command = [program("Orthanc"), str(file)]
            started.append(subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment))
        until(made.up)
        return made

    yield start
    for one in started:
        # Nothing of it is needed any more, and it takes seconds to end by itself.
        one.kill()
        one.wait()


def test_as_a_modality_of_orthanc_results_return_into_the_study(
    orthanc: Callable[..., Orthanc], listen: Callable[..., Process], study: WrittenStudy, tmp_path: Path
) -> None:
    port = free_port()
    # As the page has them.
    (modality,) = re.findall(r'`("DicomModalities": \{.*?\})`', PAGE.read_text(encoding="utf-8"))
    (tmp_path / "forward.lua").write_text(guides.block("docs/workstation.md", "lua"))
    settings = json.loads("{" + modality.replace("11112", str(port)) + "}")
    scripts = {"LuaScripts": [str(tmp_path / "forward.lua")], "DicomAlwaysAllowFind": True}
    server = orthanc(settings | scripts)
    node = listen(
        "--port", str(port), "--destination", f"ORTHANC@127.0.0.1:{server.dicom}", "--allow", "ORTHANC"
    )
    assert server.ask("/modalities/falx/echo", b"{}", "POST") == {}
    identifier = server.put(study)
    (report,) = until(lambda: server.reports(identifier))
    content = server.content(report)
    assert "Certainty of Finding" in content
    assert study.uid in content
    # The report makes the study stable anew, so all of it is sent again: nothing new to say.
    until(lambda: node.status()["ignored"] == 1)
    # And once more by hand.
    told = "curl http://127.0.0.1:8042/modalities/falx/store -d STUDY"
    call(*told.replace("8042", str(server.http)).replace("STUDY", identifier).split())
    until(lambda: node.status()["ignored"] == 2 and node.status()["studies_waiting"] == 0)
    assert (node.status()["received"], node.status()["results_sent"]) == (9, 1)
    assert len(server.reports(identifier)) == 1
    query = ["-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={study.uid}", "-k", "Modality=SR"]
    found = call(
        "findscu", "-S", "-aec", "ORTHANC", "127.0.0.1", str(server.dicom), *query, "-k", "SeriesDescription"
    )
    assert (found.stdout + found.stderr).count("Falx, for research use only") == 1
    assert SECRET not in node.log.read_text()


def test_as_a_plugin_of_orthanc_each_stable_study_is_reported_once(
    orthanc: Callable[..., Orthanc], study: WrittenStudy, tmp_path: Path
) -> None:
    if not PYTHON_PLUGIN.exists():
        pytest.skip("orthanc-python is not installed; .ci/examples installs it")
    assert len(PLUGIN.read_text().splitlines()) < 80
    plugin = {"Plugins": [str(PYTHON_PLUGIN)], "PythonScript": str(PLUGIN)}
    # The command is that of this environment, not of the Python in Orthanc.
    server = orthanc(plugin, FALX_COMMAND=f"{sys.executable} -m falx", TMPDIR=str(tmp_path))
    identifier = server.put(study)
    (report,) = until(lambda: server.reports(identifier))
    assert "Certainty of Finding" in server.content(report)
    # The report made the study stable anew, and a study that comes after it is answered after that.
    other = server.put(write_study(tmp_path / "other"))
    until(lambda: server.reports(other))
    assert len(server.reports(identifier)) == 1
    # It is logged after its report is stored.
    until(lambda: f"Falx: study {other}: 3 images, " in server.log.read_text())
    log = server.log.read_text()
    assert f"Falx: study {identifier}: 3 images, " in log
    assert log.count("Falx: study") == 2
    assert SECRET not in log
    assert not list(tmp_path.glob("falx-*"))
