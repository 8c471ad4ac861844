"""From a Keras model to graphs of TFLite and ONNX: rounded, quantized, in the formats of the engines."""
