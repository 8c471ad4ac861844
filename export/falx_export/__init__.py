"""Makes the files that Falx runs from a trained Keras model: quantized TFLite and ONNX, with their cards."""
