"""Unique identifiers that depend on content alone.

A result that is made twice, because the process was killed between writing and sending it, is then the
same object to every archive, and not a second result.
"""

from __future__ import annotations

import uuid
from typing import Final

NAMESPACE: Final = uuid.UUID("7d0c8a3e-5a0b-4a53-9b0e-2f6d1c0fa1b7")
"""Drawn once for Falx, so that its identifiers differ from everybody else's."""


def unique(*parts: str) -> str:
    """Makes a DICOM unique identifier that reveals nothing of its parts; the same parts give the same one.

    It is `2.25.` and a UUID of version 5 as a decimal number (DICOM PS3.5, B.2): at most 44 characters.
    """
    return f"2.25.{uuid.uuid5(NAMESPACE, '|'.join(parts)).int}"
