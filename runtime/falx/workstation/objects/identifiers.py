"""Unique identifiers that the same content always gets again.

A result that is made twice, because the process was killed between writing and sending it, is then the
same object to every archive, and not a second result.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Final

__all__ = ["content", "unique"]

NAMESPACE: Final = uuid.UUID("7d0c8a3e-5a0b-4a53-9b0e-2f6d1c0fa1b7")
"""Drawn once for Falx: its identifiers meet no one else's."""


def unique(*parts: str) -> str:
    """A DICOM unique identifier that says nothing of its parts.

    Args:
        parts: what makes it this object and no other.

    Returns:
        `2.25.` and a UUID of version 5 as a decimal number (DICOM PS3.5, B.2): at most 44 characters.
    """
    return f"2.25.{uuid.uuid5(NAMESPACE, '|'.join(parts)).int}"


def content(instances: Iterable[str], *further: str) -> str:
    """What tells the content of a study from any other.

    Args:
        instances: the SOP Instance UIDs of its images, in any order.
        further: what else the result depends on, such as the model's checksum.
    """
    return "/".join([*sorted(set(instances)), *further])
