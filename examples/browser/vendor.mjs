// Lays beside the page what it runs and does not come with: ONNX Runtime, and a model.
//
//     npm run vendor [-- FILE-self-contained.onnx]
//
// Without a file it takes that of the newest release in this checkout: float32 where there is one, since
// WebAssembly rounds int8 in its own way and is no quicker with it; else int8.

import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const RUNTIME = join(HERE, "node_modules", "onnxruntime-web", "dist");
const MODELS = join(HERE, "..", "..", "models");
const VENDOR = join(HERE, "vendor");

mkdirSync(VENDOR, { recursive: true });
for (const name of ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"]) {
  copyFileSync(join(RUNTIME, name), join(VENDOR, name));
}
// npm starts this here, wherever it was itself started.
const given = process.argv[2] && resolve(process.env.INIT_CWD ?? ".", process.argv[2]);
const model = given ?? newest();
if (!model) {
  console.error("vendor: models/ holds no *-self-contained.onnx; make one with");
  console.error("  python -m falx_export RUN --out DIR --self-contained");
  console.error("and give it: npm run vendor -- DIR/NAME-float32-self-contained.onnx");
  process.exit(1);
}
copyFileSync(model, join(VENDOR, "model.onnx"));
console.log(`vendor/model.onnx is ${model}`);

function newest() {
  if (!existsSync(MODELS)) return undefined; // a copy of this folder alone
  const files = readdirSync(MODELS, { recursive: true }).filter((name) => name.endsWith("-self-contained.onnx"));
  const last = files.sort(new Intl.Collator("en", { numeric: true }).compare).at(-1);
  if (!last) return undefined;
  const exact = files.find((name) => dirname(name) === dirname(last) && name.includes("-float32-"));
  return join(MODELS, exact ?? last);
}
