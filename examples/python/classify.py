"""Falx's decision with ONNX Runtime alone; Pillow decodes the images.

pip install onnxruntime pillow
export ORT_DISABLE_TELEMETRY=1
python classify.py NAME-self-contained.onnx slice.png
"""

import json
import sys

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageOps

model, *paths = sys.argv[1:]
session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]

for path in paths:
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode != "L":  # grey stays grey, all else becomes RGB on black
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    pixels = np.atleast_3d(np.asarray(image))  # uint8 (height, width, 1 or 3)
    answer = dict(zip(names, session.run(names, {"image": pixels}), strict=True))
    result = {
        "decision": str(answer["decision_label"]),
        "confidence": float(answer["confidence"]),
        "probabilities": answer["probabilities"].tolist(),
        "reason": int(answer["reason"]),
    }
    print(json.dumps({"path": path, **result}))

disclaimer = "For research and education only. Falx is not a medical device and makes no diagnosis."
print(disclaimer, file=sys.stderr)
