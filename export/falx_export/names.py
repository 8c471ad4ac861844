"""What a model may be called."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["NAME_PATTERN"]

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A model's name becomes a file's name on every system."""
