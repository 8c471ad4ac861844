"""Leaves TensorFlow and PyTorch out, whose versions ONNX Runtime would print in a report on the machine."""

from __future__ import annotations

excludedimports = ["tensorflow", "torch"]
