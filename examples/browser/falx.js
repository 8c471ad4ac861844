// Falx's decision with ONNX Runtime for the web, in WebAssembly; the browser decodes the images.

import * as ort from "./vendor/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // more would need a server that sends isolation headers
ort.env.wasm.wasmPaths = { wasm: new URL("vendor/ort-wasm-simd-threaded.wasm", import.meta.url).href };

/** Start a model from the bytes of its file. */
export function start(bytes) {
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
}

/** The pixels of an image file: an ImageData, transparency on black. */
export async function decode(file) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" }; // the pixels as they are stored
  const bitmap = await createImageBitmap(file, options);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** The answer for an ImageData. */
export async function classify(session, { data, width, height }) {
  const rgb = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    rgb[to++] = data[from];
    rgb[to++] = data[from + 1];
    rgb[to++] = data[from + 2];
  }
  const answer = await session.run({ image: new ort.Tensor("uint8", rgb, [height, width, 3]) });
  return {
    decision: answer.decision_label.data[0],
    confidence: answer.confidence.data[0],
    probabilities: [...answer.probabilities.data],
    reason: answer.reason.data[0],
    heatmap: answer.heatmap?.data, // Float32Array, a value a pixel, 0 to 1
  };
}
