"""Falx works without a network once the README's first command has installed it."""

from __future__ import annotations

import json

import pytest
from tests import keys
from tests.packaging.conftest import Environment

import falx
from falx.words import DECISIONS, DISCLAIMER, LABELS

# What LiteRT 2.3 itself needs; not chosen here, listed so that an addition is noticed.
OF_LITERT = {"backports.strenum", "flatbuffers", "ml_dtypes", "protobuf", "tqdm", "typing_extensions"}
OF_FALX = {"ai-edge-litert", "falx", "numpy", "pillow"}
OF_VENV = {"pip", "setuptools"}


def test_it_brings_numpy_pillow_litert_and_nothing_else(installed: Environment) -> None:
    listed = json.loads(installed.run(["python", "-m", "pip", "list", "--format=json"]).stdout)
    assert {package["name"].lower() for package in listed} - OF_VENV == OF_FALX | OF_LITERT


def test_there_is_no_network(installed: Environment) -> None:
    code = """
import socket
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces == ["lo"]:
    print("namespace")
else:
    socket.getaddrinfo("localhost", 80)
"""
    done = installed.offline("python", "-c", code, status=None)
    assert done.stdout == "namespace\n" or "offline: socket.getaddrinfo" in done.stderr


@pytest.mark.parametrize("name", ["falx_trainer", "falx_export", "tensorflow", "keras", "onnx", "pydicom"])
def test_the_rest_of_the_checkout_is_not_there(installed: Environment, name: str) -> None:
    done = installed.offline("python", "-c", f"import {name}", status=1)
    assert f"No module named '{name}'" in done.stderr


def test_a_prediction_loads_numpy_pillow_and_litert(installed: Environment) -> None:
    code = """
import sys
before = set(sys.modules)
import falx
falx.load().predict("slice.png")
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(loaded - set(sys.stdlib_module_names)))
"""
    loaded = set(installed.offline("python", "-c", code).stdout.split())
    packages = {name for name in loaded if not name.startswith("_")}
    assert {"falx", "numpy", "PIL", "ai_edge_litert"} <= packages
    # What LiteRT imports is its own affair, as long as it is what it came with.
    assert packages <= {"falx", "numpy", "PIL", "ai_edge_litert", "backports", "google"} | OF_LITERT


def test_info_prints_the_card(installed: Environment) -> None:
    version = f"falx {falx.__version__}\n"
    for command in (["falx"], ["python", "-m", "falx"]):
        assert installed.offline(*command, "--version").stdout == version
    card = json.loads(installed.offline("falx", "info", "--json").stdout)
    assert card["labels"] == list(LABELS)
    text = installed.offline("falx", "info").stdout
    assert card["name"] in text
    assert card["weights_sha256"] in text.replace("\n", "").replace(" ", "")


def test_check_and_demo(installed: Environment) -> None:
    # The latency is not asserted: a busy machine is no fault of the package. `falx check` says so itself.
    report = json.loads(installed.offline("falx", "check", "--json", status=None).stdout)
    steps = {step["name"]: step["ok"] for step in report["steps"]}
    assert steps.pop("latency") in (True, False)
    assert steps == {"file": True, "known inputs": True}
    assert DISCLAIMER in " ".join(installed.offline("falx", "demo").stdout.split())


def test_predict_a_folder_in_order_as_json(installed: Environment) -> None:
    done = installed.offline("falx", "predict", "--json", "scans")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    names = ["0-clear.png", "1-lesion.png", "second/clear.jpg", "second/lesion.jpg"]
    assert [answer["path"] for answer in answers] == [f"scans/{name}" for name in names]
    for answer in answers:
        assert list(answer) == keys.PREDICTION
        assert answer["decision"] in DECISIONS
        assert list(answer["probabilities"]) == list(LABELS)
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=0.01)
        assert len(answer["model"]["sha256"]) == 64


def test_an_engine_that_is_not_installed_is_status_2(installed: Environment) -> None:
    done = installed.offline("falx", "predict", "--engine", "tflite", "slice.png", status=2)
    assert "pip install 'falx[tflite]'" in done.stderr
    assert "Traceback" not in done.stderr
