"""For all tests: what Hypothesis does on a shared machine."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine makes an example slow, not wrong. In CI the same examples run every time, so that a
# failure belongs to the change and can be repeated.
# TensorFlow adds up in another order without oneDNN. The export, which turns it off, is run in this process
# too, and what is started afterwards would inherit that: half of the tests would compare unlike with like.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# What is printed for people is as wide as their terminal; pytest-xdist gives each of its processes one of 80.
os.environ["COLUMNS"] = "100"

settings.register_profile("falx", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("falx")
