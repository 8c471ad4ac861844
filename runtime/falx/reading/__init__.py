"""Turns whatever holds slices (files, bytes, arrays, DICOM, volumes) into grey slices."""

__all__: list[str] = []
