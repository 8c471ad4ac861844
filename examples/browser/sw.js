// Keeps all of the page, so that it works without a network.
//
// What the network has is taken first, so that a new model is not hidden behind an old one.

const CACHE = "falx";
const FILES = [
  "./",
  "index.html",
  "style.css",
  "icon.svg",
  "app.js",
  "card.js",
  "falx.js",
  "overlay.js",
  "words.js",
  "vendor/ort.wasm.bundle.min.mjs",
  "vendor/ort-wasm-simd-threaded.wasm",
  "vendor/model.onnx",
];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request, { cache: "no-cache" });
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}
