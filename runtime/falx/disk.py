"""What a disk says when it refuses a file."""

from __future__ import annotations

import errno

__all__ = ["lacks_room"]


def lacks_room(error: OSError) -> bool:
    """Whether a file could not be written because there is no room for it.

    No space left, a file larger than it may be, the quota used up (which Windows does not know).
    """
    return error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
