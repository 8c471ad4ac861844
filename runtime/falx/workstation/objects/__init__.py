"""DICOM that Falx writes: reports and pictures of what it answers."""
