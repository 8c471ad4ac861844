"""One grey slice: its pixels, the reasons to reject it, and the tensor that a model sees of it."""

__all__: list[str] = []
