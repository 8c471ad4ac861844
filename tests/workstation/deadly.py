"""The process that classifies, with decoders that do what the Image Comments of an image of a study say.

`SIGSEGV` and other signals: they end it. `wait`: they never come back. `raise TEXT`: they raise an error of
that text. `full TEXT`: the disk is full, the text is a file's name. With a path after a `|`: only where there
is no such file yet; it is made.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom

from falx.workstation.node import worker
from falx.workstation.objects.study_objects import make


def deadly(classifier: Any, paths: Sequence[Path], **options: Any) -> Any:
    """Make results, unless a study says otherwise."""
    read = (pydicom.dcmread(path, stop_before_pixels=True) for path in paths)
    comments = next((str(one.ImageComments) for one in read if one.ImageComments != "none"), "none")
    order, _, once = comments.partition("|")
    word, _, text = order.partition(" ")
    if once:
        if Path(once).exists():
            return make(classifier, paths, **options)
        Path(once).touch()
    if word in signal.Signals.__members__:
        os.kill(os.getpid(), signal.Signals[word])
    if word == "wait":
        time.sleep(3600)
    if word == "raise":
        raise RuntimeError(text)
    if word == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), text)
    return make(classifier, paths, **options)


if __name__ == "__main__":
    sys.exit(worker.main(sys.argv[1:], deadly))
