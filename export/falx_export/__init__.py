"""From a trained Keras model to the files Falx runs: quantized TFLite and ONNX, with their cards."""
