"""For all tests: what Hypothesis does on a shared machine."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine makes an example slow, not wrong. In CI the same examples run every time, so that a
# failure belongs to the change and can be repeated.
settings.register_profile("falx", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("falx")
