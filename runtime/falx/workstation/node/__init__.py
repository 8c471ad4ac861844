"""DICOM that Falx receives: the node of `falx listen`."""
