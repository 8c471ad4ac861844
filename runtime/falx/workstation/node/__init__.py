"""DICOM that Falx receives: the node of `falx listen`."""

__all__: list[str] = []
