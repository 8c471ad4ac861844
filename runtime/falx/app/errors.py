"""Errors of the page, in the tree of `falx.errors`.

```
FalxError
├── AppUnavailable(ImportError)     what `falx app` needs is not installed
└── FontUnavailable(LookupError)    no font of this machine has a letter of a name for a PDF
```
"""

# ruff: noqa: N818 - each name says what is wrong

from __future__ import annotations

from falx.errors import FalxError

__all__ = ["AppUnavailable", "FontUnavailable"]


class AppUnavailable(FalxError, ImportError):
    """The page that `falx app` opens needs packages that are not installed."""


class FontUnavailable(FalxError, LookupError):
    """A PDF needs a letter that no font of this machine has."""
