from __future__ import annotations

import threading
import warnings

import pytest

from falx.reading.quiet import quiet_readers


def warn_as_pillow() -> None:
    warnings.warn_explicit("damaged EXIF", UserWarning, "TiffImagePlugin.py", 1, module="PIL.TiffImagePlugin")


def test_pillow_is_quiet_and_others_are_not() -> None:
    with quiet_readers():
        warn_as_pillow()
        with pytest.raises(UserWarning, match="mine"):
            warnings.warn("mine", UserWarning, stacklevel=1)
    with pytest.raises(UserWarning, match="damaged EXIF"):
        warn_as_pillow()


def test_threads_that_overlap_restore_the_filters() -> None:
    before = list(warnings.filters)
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first() -> None:
        with quiet_readers():
            first_in.set()
            second_in.wait(5)
        first_out.set()

    def second() -> None:
        first_in.wait(5)
        with quiet_readers():
            second_in.set()
            first_out.wait(5)
            warn_as_pillow()

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert warnings.filters == before


def test_nesting() -> None:
    before = list(warnings.filters)
    with quiet_readers(), quiet_readers():
        warn_as_pillow()
    assert warnings.filters == before
