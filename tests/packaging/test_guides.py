"""Everything that a page tells its reader to run is run: here, or by a test that the table names.

A page is followed from top to bottom in a folder of its own, on drawn slices. What takes seconds is run each
time, all of the page by `.ci/slow`: there with fewer steps, turns or inputs where that is an option, and what
is installed goes into a new environment.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests import guides
from tests.guides import ROOT, Told
from tests.packaging import commands, reader
from tests.packaging.reader import Reader
from tests.said import Command

MAY_FAIL = ("falx check", "home/falx/bin/falx check", "python -m benchmarks.")
"""Commands whose status is 1 on a machine that is too slow."""

WRITES = re.compile(r"--(?:out|output|heatmaps|sheets|sr|sc|resume|state|wheel-dir) (\S+)")

PRINTS = {
    '"scan.dcm", "missing.png"': "scan.dcm glioma",
    "glioma=0.8": '"thresholds_changed": ["glioma"]',
    "logging.DEBUG": "DEBUG:falx:engine ",
    "falx.OnnxOptions": "<falx.Prediction glioma ",
    "ThreadPoolExecutor(4)": "glioma\n" * 8,
    "asyncio.gather": "['glioma', 'glioma', 'glioma', 'glioma']",
    "ProcessPoolExecutor(2": "glioma\n" * 4,
    "pydicom.dcmread": "glioma 1.2.3",
    "one.about.notes": "axial 8 ",
}
"""Words of a block of Python, and what it prints."""

TABLES: dict[str, Iterable[str]] = {
    "quick": commands.QUICK,
    "slow": commands.SLOW,
    "elsewhere": [key for keys in commands.ELSEWHERE.values() for key in keys],
    "nowhere": commands.NOWHERE,
}


class Way(NamedTuple):
    """The table that a command stands in, and its beginning there; empty for one that was forgotten."""

    table: str
    key: str


def known_as(told: Told) -> str:
    if told.language != "sh":
        return f"{told.language} of {told.page}, {told.section}"
    return re.sub(r"\bfalx-\d+", "NAME", told.code)


def way(told: Told) -> Way:
    """Finds how a command is run."""
    names = [known_as(told), f"{told.page}: {known_as(told)}"]
    fits = [
        (len(key), Way(table, key))
        for table, keys in TABLES.items()
        for key in keys
        if any(name.startswith(key) for name in names)
    ]
    return max(fits, default=(0, Way("", "")))[1]


WAYS = {page: [(told, way(told)) for told in guides.told(page)] for page in guides.PAGES}


def test_every_command_is_run_somewhere() -> None:
    forgotten = [told for ways in WAYS.values() for told, way in ways if not way.table]
    assert forgotten == [], "say in tests/packaging/commands.py how these are run"


def pages(table: str) -> list[str]:
    return [page for page, ways in WAYS.items() if any(way.table == table for _, way in ways)]


def test_every_line_of_the_tables_is_of_use() -> None:
    used = {way for ways in WAYS.values() for _, way in ways}
    assert {Way(table, key) for table, keys in TABLES.items() for key in keys} - used == set()
    blocks = [told.code for ways in WAYS.values() for told, _ in ways if told.language == "python"]
    assert [words for words in PRINTS if not any(words in code for code in blocks)] == []


@pytest.mark.parametrize("place", commands.ELSEWHERE)
def test_another_test_is_there_and_takes_the_command(place: str) -> None:
    file, _, name = place.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not name or f"def {name}(" in text
    for told, way in [pair for ways in WAYS.values() for pair in ways]:
        if way.table == "elsewhere" and way.key in commands.ELSEWHERE[place]:
            taken = re.search(rf'guides\.\w+\("{re.escape(told.page)}"', text)
            assert told.code in text or taken, f"{file} does not run {told.code}"


def typed(told: Told, key: str) -> str:
    """Returns a command with what is added to make it small."""
    return f"{told.code} {(commands.QUICK | commands.SLOW)[key]}".strip()


def starts(names: Iterable[str], command: str) -> str | None:
    """Returns the longest of these names that a command begins with."""
    return max((name for name in names if command.startswith(name)), key=len, default=None)


def check(command: str, folder: Path, status: int, out: str, err: str) -> None:
    """Asserts that a command ended well, or found the machine slow, and wrote what it was to write."""
    said = f"{command}\n{out}\n{err}"
    assert status == 0 or (command.startswith(MAY_FAIL) and status == 1 and "Traceback" not in err), said
    for name in WRITES.findall(command):
        assert (folder / name).exists(), f"{said}\n{name} was not written"


@pytest.fixture
def typist(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    folder = tmp_path / "checkout"
    folder.mkdir()
    typist = Reader(folder, installs=getattr(request, "param", False))
    yield typist
    typist.leaves()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    reader.collections(folder)
    return folder


@pytest.mark.parametrize("page", pages("quick"))
def test_what_takes_seconds_is_run(
    page: str, typist: Reader, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = typist.folder
    for name in ("examples", "models", "runtime"):
        (folder / name).symlink_to(ROOT / name)
    reader.slices(folder)
    monkeypatch.chdir(folder)
    for told, (table, key) in WAYS[page]:
        if table != "quick":
            continue
        code = typist.means(told.code)
        if told.language == "python":
            (folder / "program.py").write_text(told.code)
            done = typist.types("python program.py")
            check(told.code, folder, done.returncode, done.stdout, done.stderr)
            printed = [text for words, text in PRINTS.items() if words in told.code]
            assert [text for text in printed if text not in done.stdout + done.stderr] == []
        elif server := starts(commands.SERVERS, code):
            typist.starts(typed(told, key), server)
        elif code.startswith("falx "):
            said = command(*shlex.split(code)[1:])
            check(code, folder, *said)
        else:
            done = typist.types(told.code)
            check(code, folder, done.returncode, done.stdout, done.stderr)


def installs(page: str) -> bool:
    return any(way.table == "slow" and way.key.startswith(("pip", "python -m pip")) for _, way in WAYS[page])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "typist"), [(page, installs(page)) for page in pages("slow")], indirect=["typist"]
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_whole_page_is_followed(page: str, typist: Reader, shared: Path) -> None:
    folder, lacking = typist.folder, set()
    (folder.parent / "shared").symlink_to(shared)
    reader.checkout(folder)
    reader.slices(folder)
    reader.own(folder)
    cwd = folder / page.rpartition("/")[0] if page.startswith("examples") else folder
    (folder / "program.py").write_text(guides.block("docs/embedding.md", "python", "FastAPI"))
    for told, (table, key) in WAYS[page]:
        if table not in ("quick", "slow") or told.language != "sh":
            continue
        program = commands.NEEDS.get(starts(commands.NEEDS, told.code) or "", "python")
        if shutil.which(program) is None:
            lacking.add(program)
            continue
        code = typed(told, key)
        if server := starts(commands.SERVERS, code):
            typist.starts(code, server, cwd)
            continue
        for line in (commands.BEFORE.get(key), code):
            if line:
                done = typist.types(line, cwd)
                check(typist.means(line), cwd, done.returncode, done.stdout, done.stderr)
    typist.leaves()
    if lacking:
        pytest.skip(f"followed but for what needs {', '.join(sorted(lacking))}")
