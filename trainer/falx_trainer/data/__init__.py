"""The images that a model learns from and is measured on: prepared, divided and counted."""
