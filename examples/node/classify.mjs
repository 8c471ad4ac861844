// Falx's decision with ONNX Runtime for Node; sharp decodes the images.
//
//     npm ci --ignore-scripts
//     export ORT_DISABLE_TELEMETRY=1
//     node classify.mjs NAME-self-contained.onnx slice.png

import ort from "onnxruntime-node";
import sharp from "sharp";

const [model, ...paths] = process.argv.slice(2);
const session = await ort.InferenceSession.create(model);

for (const path of paths) {
  const { data, info } = await sharp(path, { ignoreIcc: true }) // the pixels as they are stored
    .autoOrient()
    .flatten({ background: "black" })
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const image = new ort.Tensor("uint8", data, [info.height, info.width, info.channels]);
  const answer = await session.run({ image });
  const result = {
    decision: answer.decision_label.data[0],
    confidence: answer.confidence.data[0],
    probabilities: [...answer.probabilities.data],
    reason: answer.reason.data[0],
  };
  console.log(JSON.stringify({ path, ...result }));
}

console.error("For research and education only. Falx is not a medical device and makes no diagnosis.");
