"""An evaluation for people to read: a page, the plots and tables beside it, and the terminal."""

from __future__ import annotations
