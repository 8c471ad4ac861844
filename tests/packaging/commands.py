"""Tables of how each command of a page is run; `tests/guides.py` says which there are.

The longest beginning in `QUICK`, `SLOW`, `ELSEWHERE` and `NOWHERE` counts. There, a release is called NAME, a
block of another language than a shell's is known as "LANGUAGE of PAGE, SECTION", and "PAGE: " before a
beginning makes it that of one page.
"""

from __future__ import annotations

from tests.guides import ROOT

QUICK = {
    "falx ": "",
    "falx listen": "--port 11112",
    "find ": "",
    "unzip ": "",
    "curl --": "",
    "python of ": "",
}
"""Beginnings of commands that are run each time, and the words added to them."""

TRAINING = "--stage1.epochs 1 --stage2.epochs 1 --stage2.full 0 --stage2.layers 6 --size 96"

DRAWN = "--tolerance int8.mean=0.05 --tolerance int8.decisions=0.2"
"""Tolerances for drawn heads, of which a model is less sure than of those that it learned from."""

SLOW = {
    "falx app": "--port 8501 --no-browser",
    "python -m uvicorn": "--port 8000",
    "python3 -m http.server": "8000",
    "tensorboard": "--port 6006",
    "dask scheduler": "--port 8786 --no-dashboard",
    "dask worker": "--nworkers 2",
    "python examples/archive/classify.py": "--part 10",
    "python -m falx_trainer train": TRAINING,
    "python -m falx_trainer train --show": "",
    "python -m falx_trainer evaluate": "",
    "python -m falx_trainer boxes": "",
    "python -m falx_trainer cut": "--each 2",
    "python -m falx_trainer preview": "",
    "python -m falx_export": "",
    "python -m falx_export models/NAME": DRAWN,
    "python -m falx_export RUN": DRAWN,
    "python -m falx_export verify": "--tolerance mean=0.05 --tolerance decisions=0.2",
    "python -m falx_export runs/NAME --out models/NAME": f"--overwrite {DRAWN}",
    "python -m benchmarks.ablation": "--rows default --epochs 1 --set size=96 --set stage1.epochs=1 "
    "--set stage2.full=0 --set stage2.layers=6",
    "python -m benchmarks.agreement": "--every 20",
    "python -m benchmarks.agreement --data ../shared/data --kind float": "--every 20",
    "python -m benchmarks.archive": "--slices 20 --first 10 --part 10",
    "python -m benchmarks.container": "",
    "python -m benchmarks.latency": "--turns 2",
    "python -m benchmarks.page": "--visits 1",
    "python -m benchmarks.raspberry_pi": "",
    "python -m benchmarks.reading": "",
    "python -m benchmarks.service": "--requests 8 --turns 1",
    "python -m benchmarks.soak": "--predictions 1100",
    "python -m benchmarks.startup": "--rounds 1",
    "python -m benchmarks.studies": "",
    "python -m benchmarks.throughput": "--files 8 --block 2",
    "python -m benchmarks.workstation": "--slices 4 --quiet 1",
    "python -m tests.fuzz": "--inputs 200",
    "python -m tests.fuzz.flips": "--flips 4",
    "python -m tools.card": "",
    "python -m tools.screenshots": "--only start --size desk",
    "python -m tools.speed": "",
    "python -m tools.targets": "",
    "python -m build": "",
    "python -m pytest -": "--collect-only --quiet",
    "pip install": "",
    # Gigabytes: whether everything is to be had together is asked, and nothing fetched.
    "pip install --group": "--dry-run",
    # In place of the package index, a wheel of this checkout; see BEFORE.
    "pip install falx": "--no-index --no-deps --find-links wheels",
    "pip install --no-index --find-links wheels falx": "--force-reinstall",
    "pip wheel": "",
    "python -m pip install --group docs": "",
    "python3 -m venv": "",
    "~/falx/bin/": "",
    # In place of the public address, this repository.
    "git clone": f"file://{ROOT} $(mktemp -d -p ..)",
    "git show": "> old.tflite",
    "npm run vendor": "",
    "npm run vendor -- ": "",
}
"""The same of those left to `.ci/slow`: what is added makes them smaller, or keeps them on this machine."""

BEFORE = {
    "pip install falx": "pip wheel --no-deps --wheel-dir wheels .",
    # In place of the worktree of an older release, this checkout.
    "python -m falx_trainer boxes": 'ln -sfn "$PWD" ../NAME-1.2.0',
    "python -m benchmarks.agreement --data ../shared/data --kind float": (
        f"python -m falx_export models/NAME --data ../shared/data --out runs/exported/NAME {DRAWN}"
    ),
}
"""Commands that those need which begin so, and that their page leaves to another."""

ELSEWHERE = {
    "tests/packaging/conftest.py::installed": ("README.md: pip install . && falx demo",),
    "tests/packaging/test_readme.py::test_the_falx_commands_run": ("README.md: falx ",),
    "tests/packaging/test_readme.py::test_the_python_runs": ("README.md: python of ",),
    "tests/packaging/test_readme.py::test_ci_runs_the_readmes_test_command": (
        "python -m pip install --upgrade pip",
        "python -m pip install --editable . --group dev",
    ),
    "tests/trainer/data/test_cuts.py::test_healthy_volumes_of_train_become_slices_with_a_manifest": (
        "python -m falx_trainer cut heads",
    ),
    ".ci/run": ("ruff check", "ruff format", "mypy", "python -m pytest", ".ci/engines"),
    "tests/app/test_proxy.py::configuration": ("nginx of docs/deployment.md",),
    "tests/examples/test_embedding.py::test_the_snippet_for_fastapi": (
        "python of docs/embedding.md, FastAPI",
    ),
    "tests/examples/test_embedding.py::test_the_commands_for_cpp": (
        "c++ ",
        "export ORT_DISABLE_TELEMETRY=1",
        "./classify ",
    ),
    "tests/packaging/test_frozen.py::frozen": ("python -m PyInstaller --onefile program.py",),
    "tests/packaging/test_frozen.py::test_the_package_in_a_zip_file": ("python -m zipapp program",),
    "tests/workstation/test_listen.py::"
    "test_it_says_whether_the_destination_answers_and_takes_a_file_of_settings": (
        "falx listen --spool DIR --destination ... --echo",
    ),
    "tests/workstation/test_orthanc.py::test_as_a_modality_of_orthanc_results_return_into_the_study": (
        "lua of docs/workstation.md",
        "curl http://127.0.0.1:8042/modalities/falx/store -d STUDY",
    ),
}
"""Tests and scripts of `.ci` that run commands with these beginnings, named or taken from the page."""

NOWHERE = {
    "docker compose up --build": "needs a container engine; benchmarks.container stands in for one",
    "docker buildx imagetools inspect": "asks a registry of images",
    "htpasswd -c /etc/nginx/falx.users NAME": "asks for a password; test_proxy.py writes the file",
    "python -m nuitka": "takes two hours",
    "git worktree add ../NAME-1.2.0": "needs the history, which a clone may be without",
    "apt install": "changes the machine; .ci/examples installs the same",
}
"""Commands that cannot be run here, and why."""

NEEDS = {
    "python -m benchmarks.container": "debootstrap",
    "python -m benchmarks.raspberry_pi": "debootstrap",
    "npm": "npm",
    "curl": "curl",
    "unzip": "unzip",
    "python -m benchmarks.page": "chromium",
    "python -m tools.screenshots": "chromium",
    "python -m benchmarks.workstation": "storescu",
}
"""Programs that a machine may lack; the rest of the page is followed."""

SERVERS = {
    "falx serve": 8080,
    "falx app": 8501,
    "falx listen": 11112,
    "python -m uvicorn": 8000,
    "python3 -m http.server": 8000,
    "tensorboard": 6006,
    "dask scheduler": 8786,
    "dask worker": 8786,
}
"""Commands that run until they are stopped, which here is the end of the page, and where they listen."""
