from __future__ import annotations

import errno
import gc
import json
import logging
import os
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from benchmarks.ports import free_port
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedSRStorage, MRImageStorage
from pynetdicom import AE
from pynetdicom.events import EVT_C_STORE
from tests.reading.dicom.made import change
from tests.waiting import until
from tests.workstation.peers import (
    DEADLY,
    SECRET,
    Archive,
    WrittenStudy,
    call,
    found,
    program,
    write_examination,
    write_study,
)

from falx.errors import FalxError
from falx.reading.decoders import PLUGINS
from falx.workstation.node.association import IMAGES
from falx.workstation.node.node import Node
from falx.workstation.node.sending import echo
from falx.workstation.node.settings import Destination, Settings
from falx.workstation.node.study_queue import TRIES
from falx.workstation.node.worker import Worker

Start = Callable[..., Node]

QUIET_S = 0.2

# pynetdicom leaves a socket that could not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def node(tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a node of some settings; it is stopped when the test ends."""
    started: list[Node] = []
    # How often a server looks whether it should stop, in seconds; half a second is long for 60 servers.
    monkeypatch.setattr(socketserver.BaseServer.serve_forever, "__defaults__", (0.02,))

    def start(by: Worker = worker, **changes: Any) -> Node:
        plain = Settings(
            spool=tmp_path / "spool",
            destination=Destination("ARCHIVE", "127.0.0.1", free_port()),
            port=0,
            health_port=0,
            quiet_s=QUIET_S,
            retry_s=0.2,
            retry_most_s=0.4,
        )
        made = Node(replace(plain, **changes), by)
        made.start()
        started.append(made)
        return made

    yield start
    for one in started:
        one.stop()
    # pynetdicom leaves a socket that could not connect to it; see the mark above.
    gc.collect()


@pytest.fixture
def made(node: Start, archive: Archive) -> Node:
    """A node that sends its results to the archive."""
    return node(destination=archive.destination)


def associate(node: Node) -> Any:
    entity = AE(ae_title="SCANNER")
    for uid in (MRImageStorage, EnhancedSRStorage):
        entity.add_requested_context(uid)
    return entity.associate("127.0.0.1", node.port, ae_title="FALX")


def stored(association: Any, *files: Path) -> None:
    """Sends images over an association that is open, and has each taken."""
    for file in files:
        assert association.send_c_store(pydicom.dcmread(file)).Status == 0


def send(node: Node, *files: Path) -> None:
    done = call("storescu", "-aec", "FALX", "127.0.0.1", str(node.port), *files)
    assert done.returncode == 0, done.stderr


def evidence(report: Dataset) -> set[str]:
    series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    return {str(item.ReferencedSOPInstanceUID) for one in series for item in one.ReferencedSOPSequence}


def uids(study: WrittenStudy) -> set[str]:
    return {str(pydicom.dcmread(file).SOPInstanceUID) for file in study.files}


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns the messages that the node itself logged."""
    return [record.getMessage() for record in caplog.records if record.name == "falx.listen"]


def settled(node: Node) -> bool:
    status = node.status()
    return not (status["studies_waiting"] or status["results_to_send"])


def test_both_sides_answer_an_echo(node: Start, archive: Archive) -> None:
    made = node()
    assert call("echoscu", "-aec", "FALX", "127.0.0.1", str(made.port)).returncode == 0
    settings = Settings(spool=Path("unused"), destination=archive.destination)
    assert echo(settings)
    archive.stop()
    assert not echo(settings)


def test_titles_that_are_not_meant_or_not_allowed_are_refused(
    node: Start, caplog: pytest.LogCaptureFixture
) -> None:
    made = node(allow=("SCANNER",))
    echo = ["127.0.0.1", str(made.port)]
    assert call("echoscu", "-aet", "SCANNER", "-aec", "FALX", *echo).returncode == 0
    with caplog.at_level(logging.WARNING, "falx.listen"):
        wrong = call("echoscu", "-aet", "SCANNER", "-aec", "OTHER", *echo)
        assert "Called AE Title Not Recognized" in wrong.stderr
        stranger = call("echoscu", "-aet", "STRANGER", "-aec", "FALX", *echo)
        assert "Calling AE Title Not Recognized" in stranger.stderr
    assert made.status()["associations_refused"] == 2
    assert "refused an association of STRANGER at 127.0.0.1" in caplog.text


def test_a_study_is_reported_once_and_again_where_that_is_asked(
    node: Start, archive: Archive, study: WrittenStudy
) -> None:
    made = node(destination=archive.destination, again=False)
    send(made, *study.files)
    (report,) = until(archive.reports)
    assert (report.StudyInstanceUID, evidence(report)) == (study.uid, uids(study))
    send(made, *study.files)
    until(lambda: made.status()["received"] == 6 and settled(made))
    made.stop()
    assert len(archive.reports()) == 1

    asked = node(destination=archive.destination, again=True)
    send(asked, *study.files)
    until(lambda: len(archive.reports()) == 2)
    assert len({one.SOPInstanceUID for one in archive.reports()}) == 2


def test_what_is_no_picture_of_the_head_is_named_and_decides_nothing(
    made: Node, archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = write_examination(tmp_path / "study")
    with caplog.at_level(logging.INFO, "falx.listen"):
        # Sent twice, it is counted once.
        send(made, *study.files, *study.files)
        (report,) = until(archive.reports)
    assert found(report, "Decision")[0] == ("NO_TUMOR", "99FALX")
    phase, localizer = sorted(text for text in found(report, "Comment") if text.startswith("Not used"))
    assert localizer.startswith("Not used, 9 slices: The DICOM image is a localizer")
    assert phase.startswith("Not used, 24 slices: The DICOM image shows phase")
    assert len(study.files) == 9 + 24 + 24
    assert evidence(report) == uids(study)
    assert len(found(report, "Source")) == len(study.files)
    (line,) = [line for line in logged(caplog) if "57 images" in line]
    assert line.startswith(f"study {study.uid}: 57 images, no_tumor, not used: ")
    assert "9 localizer" in line
    assert "24 phase" in line


def test_a_study_that_cannot_be_read_says_so(made: Node, archive: Archive, study: WrittenStudy) -> None:
    for file in study.files:
        change(file, PixelData=b"", ImageComments="none")
    send(made, *study.files)
    (report,) = until(archive.reports)
    assert found(report, "Decision") == [("82334004", "SCT")]
    assert "read" in found(report, "Reason")[0]


def test_late_images_are_reported_with_the_whole_study(
    made: Node, archive: Archive, study: WrittenStudy
) -> None:
    send(made, *study.files[:2])
    until(archive.reports)
    send(made, study.files[2])
    until(lambda: len(archive.reports()) == 2)
    assert sorted(len(evidence(one)) for one in archive.reports()) == [2, 3]


def test_a_destination_that_is_down_gets_its_result_later(
    node: Start, archive: Archive, study: WrittenStudy
) -> None:
    archive.stop()
    made = node(destination=archive.destination, capture=True)
    send(made, *study.files)
    until(lambda: made.status()["destination_up"] is False)
    assert made.status()["results_to_send"] == 1
    archive.start()
    until(lambda: made.status()["results_sent"] == 1)
    assert made.status()["destination_up"] is True
    (report,) = archive.reports()
    assert evidence(report) == uids(study)
    assert len(archive.files()) > 1
    # Pictures were asked for and are in the study.
    assert {pydicom.dcmread(file).StudyInstanceUID for file in archive.files()} == {study.uid}


def test_a_full_spool_refuses_with_out_of_resources(node: Start, study: WrittenStudy) -> None:
    made = node(spool_mb=0.1)
    association = associate(made)
    images = [pydicom.dcmread(file) for file in study.files]
    assert [association.send_c_store(one).Status for one in images] == [0, 0xA700, 0xA700]
    association.release()
    assert made.status()["refused"] == 2
    # Once its images are reported they make room for others.
    until(lambda: made.status()["studies_waiting"] == 0)
    association = associate(made)
    assert association.send_c_store(images[1]).Status == 0
    association.release()


def test_an_image_that_is_too_long_ends_its_association(node: Start, study: WrittenStudy) -> None:
    made = node(object_mb=0.05)
    association = associate(made)
    assert "Status" not in association.send_c_store(pydicom.dcmread(study.files[0]))
    until(lambda: not association.is_established)
    assert (made.status()["refused"], made.status()["received"]) == (1, 0)


def test_identifiers_of_message_and_image_must_agree(node: Start, study: WrittenStudy) -> None:
    made = node()
    image = pydicom.dcmread(study.files[0])
    del image.SeriesInstanceUID
    association = associate(made)
    assert association.send_c_store(image).Status == 0xA900
    image = pydicom.dcmread(study.files[0])
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        image.StudyInstanceUID = "../../etc"
    assert association.send_c_store(image).Status == 0xA900
    association.release()
    assert made.status()["refused"] == 2


def test_what_is_no_image_is_acknowledged_and_not_kept(
    made: Node, archive: Archive, study: WrittenStudy
) -> None:
    send(made, *study.files)
    until(archive.reports)
    # The archive sends the whole study back, the report in it.
    association = associate(made)
    assert association.send_c_store(archive.reports()[0]).Status == 0
    association.release()
    until(lambda: settled(made))
    status = made.status()
    assert (status["ignored"], status["received"], status["results_sent"]) == (1, 3, 1)


def test_an_association_that_ends_half_way_loses_nothing(
    made: Node, archive: Archive, study: WrittenStudy
) -> None:
    images = [pydicom.dcmread(file) for file in study.files]
    association = associate(made)
    assert association.send_c_store(images[0]).Status == 0
    association.abort()
    # And one whose line is cut within an image.
    association = associate(made)
    encoded = b"\x04\x00\x00\x01\x00\x00" + b"\x00" * 100
    association.dul.socket.socket.sendall(encoded)
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    send(made, *study.files[1:])
    # The first image may have been reported alone, if the rest came late; the last report has them all.
    until(lambda: uids(study) in [evidence(one) for one in archive.reports()])
    until(lambda: settled(made))
    assert made.status()["associations"] == 0


def test_an_association_that_ends_while_its_image_is_looked_at_keeps_no_study_waiting(
    made: Node, archive: Archive, study: WrittenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pydicom.dcmread
    association = associate(made)
    image = read(study.files[0])

    def late(*given: Any, **options: Any) -> Dataset:
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        until(lambda: made.status()["associations"] == 0)
        return read(*given, **options)

    with monkeypatch.context() as slow:
        slow.setattr("falx.workstation.node.association.dcmread", late)
        assert "Status" not in association.send_c_store(image)
        until(lambda: made.status()["received"] == 1)
    until(archive.reports)
    assert made.status()["associations"] == 0


def test_a_slow_sender_is_waited_for(made: Node, archive: Archive, study: WrittenStudy) -> None:
    association = associate(made)
    for file in study.files:
        stored(association, file)
        # Far longer than a study must be quiet; but its association is open.
        time.sleep(2 * QUIET_S)
    association.release()
    until(archive.reports)
    until(lambda: settled(made))
    assert [evidence(one) for one in archive.reports()] == [uids(study)]


def test_a_study_is_not_kept_waiting_by_what_its_association_sends_after_it(
    made: Node, archive: Archive, study: WrittenStudy, tmp_path: Path
) -> None:
    other = write_study(tmp_path / "other", 1)
    association = associate(made)
    for file in (*study.files, *other.files):
        assert association.send_c_store(pydicom.dcmread(file)).Status == 0
    # An archive that is moved goes on like this for days.
    until(archive.reports)
    assert association.is_established
    assert (made.status()["studies_waiting"], made.status()["associations"]) == (1, 1)
    association.release()
    until(lambda: settled(made))
    reports = {one.StudyInstanceUID: evidence(one) for one in archive.reports()}
    assert reports == {study.uid: uids(study), other.uid: uids(other)}


def test_a_destination_that_refuses_is_asked_again_and_keeps_no_other_result_from_it(
    node: Start, study: WrittenStudy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[str] = []
    refusals = [0xA700, 0x0110]

    def store(event: Any) -> int:
        if event.dataset.StudyInstanceUID == study.uid and refusals:
            return refusals.pop()
        taken.append(str(event.dataset.StudyInstanceUID))
        return 0xB000  # a warning: it is stored all the same

    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(EnhancedSRStorage)
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(EVT_C_STORE, store)])
    other = write_study(tmp_path / "other", 1)
    try:
        made = node(destination=Destination("ARCHIVE", "127.0.0.1", server.socket.getsockname()[1]))
        with caplog.at_level(logging.WARNING, "falx.listen"):
            send(made, *study.files, *other.files)
            until(lambda: made.status()["results_sent"] == 2)
    finally:
        server.shutdown()
    assert taken == [other.uid, study.uid]
    assert logged(caplog) == [
        f"study {study.uid}: its result was not taken (status 0x{code}); tried again"
        for code in ("0110", "A700")
    ]


def test_a_sender_that_falls_silent_is_ended(node: Start, archive: Archive, study: WrittenStudy) -> None:
    made = node(destination=archive.destination, idle_s=1.0)
    association = associate(made)
    stored(association, study.files[0])
    until(archive.reports)
    until(lambda: not association.is_established)


def test_ten_at_once_are_each_answered(made: Node, archive: Archive, tmp_path: Path) -> None:
    studies = [write_study(tmp_path / str(number), 1) for number in range(10)]
    sent = [
        subprocess.Popen([program("storescu"), "-aec", "FALX", "127.0.0.1", str(made.port), study.files[0]])
        for study in studies
    ]
    assert [one.wait(60) for one in sent] == [0] * 10
    until(lambda: made.status()["results_sent"] == 10)
    assert {one.StudyInstanceUID for one in archive.reports()} == {study.uid for study in studies}


def test_more_associations_than_allowed_are_refused_for_now(node: Start) -> None:
    made = node(associations=1)
    first = associate(made)
    assert first.is_established
    second = associate(made)
    assert second.is_rejected
    assert second.acceptor.primitive.result == 0x02
    first.release()


def test_a_health_check_answers_on_this_machine(node: Start, worker: Worker) -> None:
    made = node(spool_mb=0.00001)

    def fetch(path: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{made.health_port}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            read: dict[str, Any] = json.load(answer)
        return read

    status = fetch("/healthz")
    assert (status["status"], status["received"], status["model"]["name"]) == ("ok", 0, worker.model.name)
    assert made.line() == (
        "ok: 0 images received, 0 studies waiting (0 stuck), 0 set aside, 0 results to send, 0 sent, "
        "spool 0.0 of 1e-05 MB, destination not tried"
    )
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch("/")
    made.spool.store("1.2", "1.3", bytes(10))
    with pytest.raises(urllib.error.HTTPError, match="503") as error:
        fetch("/healthz")
    assert json.load(error.value)["trouble"] == "the spool is full"


def test_a_thread_that_ends_is_an_unwell_node(
    node: Start, study: WrittenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = node()

    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr(made.spool, "waiting", fail)
    send(made, *study.files)
    until(lambda: made.failed)
    monkeypatch.undo()
    assert made.status()["trouble"] == "a thread has ended; start this process anew"


@pytest.mark.parametrize(
    ("comments", "said"),
    [
        ("raise {SECRET}", "an unexpected error in deadly.py, line 40"),
        ("full {SECRET}", "No space left on device"),
    ],
)
def test_a_study_that_is_not_classified_is_tried_again(
    made: Node,
    archive: Archive,
    comments: str,
    said: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    order = f"{comments.format(SECRET=SECRET)}|{tmp_path / 'once'}"
    study = write_study(tmp_path / "study", 1, ImageComments=order)
    with caplog.at_level(logging.ERROR, "falx.listen"):
        send(made, *study.files)
        until(archive.reports)
    until(lambda: settled(made))
    assert logged(caplog) == [f"study {study.uid}: not classified ({said}), tried again"]
    assert len(archive.reports()) == made.status()["results_sent"] == 1
    assert list((tmp_path / "spool" / "studies" / study.uid).iterdir()) == [
        tmp_path / "spool" / "studies" / study.uid / "kept"
    ]


@pytest.mark.slow
def test_a_study_that_ends_its_process_each_time_is_set_aside_and_the_others_are_answered(
    node: Start, archive: Archive, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    deadly = write_study(tmp_path / "deadly", 2, ImageComments="SIGSEGV")
    change(deadly.files[0], ImageComments="none")
    plain = write_study(tmp_path / "plain", 1, ImageComments="none")
    made = node(destination=archive.destination)
    with caplog.at_level(logging.ERROR, "falx.listen"):
        send(made, *deadly.files, *plain.files)
        until(lambda: made.status()["studies_set_aside"] == 1)
    until(lambda: settled(made))
    assert [one.StudyInstanceUID for one in archive.reports()] == [plain.uid]
    assert logged(caplog) == [
        *[f"study {deadly.uid}: not classified (its process ended by SIGSEGV), tried again"] * 2,
        f"study {deadly.uid}: set aside, not classified 3 times (its process ended by SIGSEGV); its images "
        "are kept, and it is tried again when it is received again",
    ]
    status = made.status()
    assert (status["status"], status["studies_waiting"], status["studies_set_aside"]) == ("ok", 0, 1)
    assert "0 studies waiting (0 stuck), 1 set aside, 0 results to send, 1 sent" in made.line()
    made.stop()

    # After a restart it is not begun by itself; sent again, mended, it is answered once, with all its images.
    again = node(destination=archive.destination)
    assert (again.status()["studies_set_aside"], again.status()["studies_waiting"]) == (1, 0)
    change(deadly.files[1], ImageComments="none")
    send(again, deadly.files[1])
    until(lambda: again.status()["results_sent"] == 2)
    (report,) = [one for one in archive.reports() if one.StudyInstanceUID == deadly.uid]
    assert evidence(report) == uids(deadly)
    until(lambda: settled(again))
    assert again.status()["studies_set_aside"] == 0


def test_a_node_that_is_stopped_does_not_wait_for_a_study(
    node: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study", 1, ImageComments=f"wait|{tmp_path / 'once'}")
    made = node()
    with caplog.at_level(logging.ERROR, "falx.listen"):
        send(made, *study.files)
        until((tmp_path / "once").exists)
        started = time.monotonic()
        made.stop()
    assert time.monotonic() - started < 10
    assert (caplog.text, made.spool.waiting(), made.spool.counts()["studies_stuck"]) == ("", [study.uid], 0)
    again = node()
    until(lambda: again.status()["results_to_send"] == 1)


def test_a_node_that_is_stopped_before_it_asked_for_a_study_does_not_wait_for_it(
    node: Start,
    worker: Worker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path / "study", 1, ImageComments="wait")
    made = node()
    begun, ended = threading.Event(), threading.Event()
    begin, stop = made.spool.begin, worker.stop

    def late(study: str) -> Any:
        begun.set()
        assert ended.wait(10)
        return begin(study)

    def noted() -> None:
        stop()
        ended.set()

    monkeypatch.setattr(made.spool, "begin", late)
    monkeypatch.setattr(worker, "stop", noted)
    with caplog.at_level(logging.ERROR, "falx.listen"):
        send(made, *study.files)
        assert begun.wait(10)
        started = time.monotonic()
        made.stop()
    assert time.monotonic() - started < 20
    assert (caplog.text, made.spool.waiting()) == ("", [study.uid])


def test_a_disk_that_is_full_for_a_while_ends_no_thread(
    node: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path / "study", 1, ImageComments=f"raise it|{tmp_path / 'once'}")
    made = node()

    def full_once(step: str) -> None:
        real = getattr(made.spool, step)

        def full(*_: Any) -> None:
            monkeypatch.setattr(made.spool, step, real)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(made.spool, step, full)

    # Where a batch is begun, and where it is counted that it was not classified.
    full_once("begin")
    full_once("failed")
    with caplog.at_level(logging.ERROR, "falx.listen"):
        send(made, *study.files)
        until(lambda: made.status()["results_to_send"] == 1)
    assert not made.failed
    said = f"study {study.uid}: not classified (No space left on device), tried again"
    assert logged(caplog) == [said, said]


@pytest.mark.slow
def test_a_process_that_does_not_start_is_an_unwell_node_and_no_fault_of_the_study(
    node: Start, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    study = write_study(tmp_path / "study", 1, ImageComments="raise it")
    worker = Worker(command=["sh", "-c", f'[ ! -e "{broken}" ] || exit 3; exec "$@"', "sh", *DEADLY])
    made = node(worker)
    broken.touch()
    worker.stop()
    send(made, *study.files)
    until(lambda: made.status().get("trouble") == "the process that classifies does not start")
    # As often as a study's own failures would set it aside.
    until(lambda: made.spool.tries(study.uid) > TRIES)
    assert (made.status()["status"], made.status()["studies_set_aside"]) == ("unwell", 0)
    # Once the process starts, the node is well, also where the study fails.
    broken.unlink()
    until(lambda: made.status()["studies_set_aside"] == 1)
    until(lambda: made.status()["status"] == "ok")
    made.stop()
    worker.stop()


def test_a_port_that_is_taken_is_an_error(node: Start, tmp_path: Path) -> None:
    made = node()
    with pytest.raises(FalxError, match=f"cannot listen at 127.0.0.1:{made.port}: Address already in use"):
        node(port=made.port, spool=tmp_path / "another")
    with pytest.raises(FalxError, match=r"another `falx listen` works in this spool"):
        node()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, pem = folder / "key.pem", folder / "certificate.pem"
    about = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    how = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command = [program("openssl"), "req", *how, *about, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    return pem, key


def test_over_tls_and_a_peer_that_does_not_shake_hands_keeps_nobody_out(
    node: Start, certificate: tuple[Path, Path], archive: Archive, study: WrittenStudy
) -> None:
    pem, key = certificate
    archive.stop()
    archive.options = ("+tls", str(key), str(pem), "+cf", str(pem))
    archive.start()
    own = {"tls_certificate": pem, "tls_key": key, "tls_authority": pem}
    made = node(destination=archive.destination, destination_tls=True, **own)
    there = ("-aec", "FALX", "127.0.0.1", str(made.port))
    assert call("echoscu", "-to", "5", "-ta", "5", *there).returncode != 0
    with socket.create_connection(("127.0.0.1", made.port)):
        done = call("storescu", "+tls", key, pem, "+cf", pem, *there, *study.files)
        assert done.returncode == 0, done.stderr
        assert call("storescu", "+tla", "+cf", pem, *there, study.files[0]).returncode != 0
        until(archive.reports)
        # The one that says nothing.
        until(lambda: made.status()["associations"] == 1)


def test_a_certificate_that_is_none_is_an_error(node: Start, tmp_path: Path) -> None:
    (none := tmp_path / "x.pem").write_text("none")
    own, authority = {"tls_certificate": none, "tls_key": none}, {"tls_authority": none}
    for settings in (own, {"destination_tls": True, **authority}):
        with pytest.raises(FalxError, match="TLS: the certificate, key or authority cannot be used"):
            node(**settings)


def test_every_image_class_is_offered_in_every_syntax(node: Start) -> None:
    made = node()
    for uid in IMAGES:
        entity = AE(ae_title="SCANNER")
        for syntax in PLUGINS:
            entity.add_requested_context(uid, syntax)
        association = entity.associate("127.0.0.1", made.port, ae_title="FALX")
        assert {c.transfer_syntax[0] for c in association.accepted_contexts} == set(PLUGINS)
        association.release()
