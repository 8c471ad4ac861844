"""Leaves TensorFlow and PyTorch out, whose versions ONNX Runtime would print in a report on the machine."""

excludedimports = ["tensorflow", "torch"]
