"""Turns a Keras model into graphs of TFLite and ONNX: rounded, quantized, in the formats of the engines."""
