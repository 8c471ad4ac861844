from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.said import Command
from tests.waiting import until
from tests.workstation.peers import SECRET, Archive, Process, WrittenStudy, call, write_study


def begun(study: Path) -> bool:
    return (study / "kept").exists() or any(study.glob("batch-*"))


@pytest.mark.slow
def test_killed_at_any_moment_every_study_is_reported_once(
    listen: Callable[..., Process], archive: Archive, tmp_path: Path
) -> None:
    """Also: nothing of the patient is in the log, in the answers of the health check or in the records."""
    chance = random.Random(7)  # noqa: S311 - no secret
    node = listen(
        "--destination", str(archive.destination), "--capture", "--retry", "0.2", "--retry-most", "1"
    )
    # pydicom quotes values that are none of their kind where it warns of them.
    wrong: Any = {"PatientBirthDate": SECRET, "StudyTime": SECRET}
    with pytest.warns(UserWarning, match="Invalid value"):
        studies = [write_study(tmp_path / str(number), 4, **wrong) for number in range(2)]
    for number, study in enumerate(studies):

        def send(study: WrittenStudy = study) -> bool:
            done = call("storescu", "-aec", "FALX", "127.0.0.1", str(node.port), *study.files)
            return bool(done.returncode == 0)

        # Once while it receives or soon after: whatever it acknowledged is answered, the rest sent again.
        sent = send()
        if number == 0:
            time.sleep(chance.uniform(0, 1.5))
            node.kill()
            node.start()
        else:
            # And once the process that classifies alone, while it does.
            until(partial(begun, tmp_path / "spool" / "studies" / study.uid))
            (child,) = map(int, call("pgrep", "-P", str(node.process.pid)).stdout.split())
            os.kill(child, signal.SIGKILL)
        assert sent or until(send)
    until(lambda: node.status()["results_sent"] == 2)
    status = node.status()
    assert (status["studies_waiting"], status["results_to_send"], status["studies_stuck"]) == (0, 0, 0)
    reports = archive.reports()
    assert sorted(one.StudyInstanceUID for one in reports) == sorted(study.uid for study in studies)
    assert {
        len(
            one.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
        )
        for one in reports
    } == {4}
    kept = [file for file in (tmp_path / "spool").rglob("*") if file.is_file() and file.suffix != ".dcm"]
    for file in (node.log, *kept):
        assert SECRET not in file.read_text(errors="replace"), file
    assert SECRET not in str(status)
    assert "result sent" in node.log.read_text()


def test_it_says_whether_the_destination_answers_and_takes_a_file_of_settings(
    archive: Archive, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "falx.toml"
    file.write_text(f'spool = "{tmp_path / "spool"}"\ndestination = "NOBODY@127.0.0.1:1"\n')
    said = command("listen", "--config", file, "--destination", archive.destination, "--echo")
    assert said[:2] == (0, f"{archive.destination} answers\n")
    told = "falx listen --spool DIR --destination ... --echo"
    words = told.replace("DIR", str(tmp_path / "spool")).replace("...", str(archive.destination)).split()
    said = command(*words[1:])
    assert said[:2] == (0, f"{archive.destination} answers\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--spool", "s"], "destination must be given, with --destination or in the file of --config"),
        (["--spool", "s", "--destination", "A@b:1", "--quiet", "x"], "quiet: expected a number, got 'x'"),
        (["--config", "none.toml"], "none.toml: cannot be read"),
    ],
)
def test_wrong_settings_end_with_the_reason(arguments: list[str], message: str, command: Command) -> None:
    command("listen", *arguments).refuses(message)
