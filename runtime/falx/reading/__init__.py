"""From whatever holds slices (files, bytes, arrays, DICOM, volumes) to grey slices."""

__all__: list[str] = []
