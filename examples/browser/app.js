// The page: takes a slice by choice, drop or paste, and shows what Falx answers.

import { readCard } from "./card.js";
import { classify, decode, start } from "./falx.js";
import { highest, overlay } from "./overlay.js";
import { band, NAMES, percent, REASONS, RECOMMENDATIONS } from "./words.js";

/** A picture of this many pixels still fits into WebAssembly's memory. */
const MAXIMUM_PIXELS = 4096 * 4096;

const element = (id) => document.getElementById(id);
const picture = element("picture");

let session;
let card;
let shown; // { slice, answer } of the slice on the screen
let latest = 0; // counts the slices that were given
let queue = Promise.resolve(); // a session runs one slice at a time

async function load() {
  if (!readsPixelsUnchanged()) {
    throw new Error(
      "This browser alters the pixels that a page reads, against fingerprinting, and the answer would be of " +
        "another picture. Allow this page to read canvas data, and load it again.",
    );
  }
  const response = await fetch("vendor/model.onnx");
  if (!response.ok) throw new Error("vendor/model.onnx is missing. Run “npm run vendor” beside this page, and load it again.");
  const bytes = new Uint8Array(await response.arrayBuffer());
  card = readCard(bytes);
  session = await start(bytes);
  element("model").textContent = `Model ${card.name} ${card.version}; ${card.license}`;
  element("file").disabled = false;
  element("state").textContent = "Ready";
  document.documentElement.dataset.ready = "";
  await keepOffline();
}

async function keepOffline() {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  element("state").textContent = "Ready, also without a network";
}

/** Whether a canvas gives back what was put on it. */
function readsPixelsUnchanged() {
  const put = new ImageData(64, 64);
  put.data.forEach((_, i, data) => (data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
  const context = new OffscreenCanvas(64, 64).getContext("2d", { alpha: false, willReadFrequently: true });
  context.putImageData(put, 0, 0);
  return context.getImageData(0, 0, 64, 64).data.every((value, i) => value === put.data[i]);
}

function take(files) {
  if (!session || files.length === 0) return;
  const turn = ++latest;
  queue = queue.then(() => turn === latest && read(files[0], files.length, turn));
}

async function read(file, given, turn) {
  busy(true);
  try {
    const slice = await open(file);
    await painted(); // else the page says "reading" only when it is done
    const answer = await classify(session, slice);
    if (turn === latest) show({ slice, answer }, file.name, given);
  } catch (error) {
    if (turn === latest) fail("Cannot be read", file.name, error.message);
  } finally {
    busy(false);
  }
}

async function open(file) {
  const head = new Uint8Array(await file.slice(0, 132).arrayBuffer());
  const text = String.fromCharCode(...head);
  if (head.length === 0) throw new Error("The file is empty.");
  if (text.slice(128) === "DICM") throw new Error("This page reads no DICOM. Save the slice as PNG, or use “falx predict”.");
  if (text.slice(1, 4) === "PNG" && head[24] === 16) {
    throw new Error("It has 16 bits a pixel, of which a browser reads 8. Save it with 8, or use “falx predict”.");
  }
  const slice = await decode(file).catch(() => {
    throw new Error("Expected an image that this browser can read, such as PNG or JPEG; the file is another, or damaged.");
  });
  if (slice.width * slice.height > MAXIMUM_PIXELS) {
    throw new Error(`${slice.width} × ${slice.height} pixels are too many for a slice; at most ${MAXIMUM_PIXELS} are read.`);
  }
  return slice;
}

function show(result, name, given) {
  const { slice, answer } = (shown = result);
  const { decision, confidence, probabilities, reason } = answer;
  const decided = decision in card.thresholds;
  const verdict = RECOMMENDATIONS[decision];
  const note = { rejected: `${REASONS[reason]} ${verdict}`, ambiguous: `${perhaps(probabilities)} ${verdict}` };
  say({
    kind: decided && decision !== "no_tumor" ? "tumor" : decision,
    name: `${name}, ${slice.width} × ${slice.height}`,
    decision: NAMES[decision],
    confidence: decided ? `${percent(confidence)}, ${band(confidence)} confidence` : "",
    note: (note[decision] ?? verdict) + (given > 1 ? ` This is the first of ${given} files; give one at a time.` : ""),
  });
  showProbabilities(decision, probabilities);
  element("heatmap-tools").hidden = decision === "rejected" || !answer.heatmap;
  picture.width = slice.width;
  picture.height = slice.height;
  picture.hidden = false;
  element("invitation").hidden = true;
  element("choose").textContent = "Choose another slice";
  draw();
}

function fail(decision, name, note) {
  shown = undefined;
  say({ kind: "error", name, decision, confidence: "", note });
  for (const id of ["probabilities", "heatmap-tools", "picture"]) element(id).hidden = true;
  element("invitation").hidden = false;
}

function say({ kind, name, decision, confidence, note }) {
  element("verdict").dataset.kind = kind;
  element("name").textContent = name;
  element("decision").textContent = decision;
  element("confidence").textContent = confidence;
  element("note").textContent = note;
  element("how").open = false;
}

function perhaps(probabilities) {
  const ranked = card.labels.map((label, i) => [label, probabilities[i]]).sort((a, b) => b[1] - a[1]);
  const leaders = ranked.slice(0, 2).map(([label, share]) => `${NAMES[label].toLowerCase()} (${percent(share)})`);
  return `Perhaps ${leaders.join(" or ")}.`;
}

function showProbabilities(decision, probabilities) {
  const rows = card.labels.map((label, i) => {
    const row = document.createElement("tr");
    row.className = label === decision ? "decided" : "";
    const needed = card.thresholds[label];
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.append(document.createElement("i"), document.createElement("b"));
    bar.firstChild.style.width = `${100 * probabilities[i]}%`;
    bar.lastChild.style.left = `${100 * needed}%`;
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = NAMES[label];
    const share = document.createElement("td");
    share.append(Object.assign(document.createElement("span"), { textContent: percent(probabilities[i]) }), bar);
    const least = document.createElement("td");
    least.textContent = percent(needed);
    row.append(name, share, least);
    return row;
  });
  element("probabilities").tBodies[0].replaceChildren(...rows);
  element("probabilities").hidden = decision === "rejected";
}

function draw() {
  if (!shown) return;
  const { slice, answer } = shown;
  const heatmap = answer.decision === "rejected" ? undefined : answer.heatmap;
  const visible = heatmap && element("show").checked;
  const opacity = element("opacity").value / 100;
  picture.getContext("2d", { alpha: false }).putImageData(visible ? overlay(slice, heatmap, opacity) : slice, 0, 0);
  const size = `The slice, ${slice.width} by ${slice.height} pixels.`;
  picture.setAttribute("aria-label", heatmap ? `${size} ${highest(heatmap, slice.width)}` : size);
}

function busy(is) {
  element("screen").setAttribute("aria-busy", String(is));
}

function painted() {
  return new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}

element("file").addEventListener("change", ({ target }) => {
  take([...target.files]);
  target.value = ""; // so that the same file can be chosen again
});
for (const id of ["show", "opacity"]) element(id).addEventListener("input", draw);
document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.documentElement.dataset.dragging = "";
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) delete document.documentElement.dataset.dragging;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  delete document.documentElement.dataset.dragging;
  take([...event.dataTransfer.files]);
});

load().catch((error) => {
  if (session) return; // it answers; only the copy for use without a network is missing
  element("state").textContent = "Not ready";
  fail("Cannot start", "", error.message);
});
