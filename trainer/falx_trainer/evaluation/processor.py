"""Names the processor of a measurement, with the standard library only."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

VECTORS: Final = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "VNNI"}
"""The flags that decide how fast a network runs on x86, and how int8 is rounded: in Linux's words, and the
makers'."""


def processor(information: Path = Path("/proc/cpuinfo")) -> str:
    """Returns the processor's name and its vector instructions, where Linux says; else its architecture."""
    if not information.exists():
        return platform.processor() or platform.machine()
    found: dict[str, str] = {}
    for line in information.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    if "model name" not in found:
        return platform.processor() or platform.machine()
    flags = found.get("flags", "").split()
    vectors = list(dict.fromkeys(word for flag, word in VECTORS.items() if flag in flags))
    return f"{found['model name']} ({', '.join(vectors)})" if vectors else found["model name"]
