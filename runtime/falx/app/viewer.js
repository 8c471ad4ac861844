// The viewer: draws a slice and its heatmap, and takes drops anywhere on the page.
// Zoom, place, view and window are kept while the reader walks through slices.

let closing = new AbortController();
const look = { view: "heatmap", opacity: null, zoom: 1, x: 0, y: 0, window: null, series: null };
const ZOOMS = { least: 1, most: 8, step: 1.25 };
const TYPING = "input, textarea, select, [contenteditable], [role=slider], [role=spinbutton], [role=radio], [role=tab]";

export default function (component) {
  const { data, parentElement: root, setTriggerValue } = component;
  const find = (selector) => root.querySelector(selector);
  const all = (selector) => [...root.querySelectorAll(selector)];
  // Streamlit calls this again for new data, without a call to what it returned before.
  closing.abort();
  closing = new AbortController();
  const { signal } = closing;
  const on = (target, event, act, options = {}) => target.addEventListener(event, act, { ...options, signal });

  all("[data-text]").forEach((element) => (element.textContent = data.texts[element.dataset.text]));
  all("[data-label]").forEach((element) => element.setAttribute("aria-label", data.texts[element.dataset.label]));
  find(".empty .sign").src = data.sign;
  find(".empty").hidden = !data.empty;
  find(".words").hidden = data.empty || data.picture !== null;
  find(".words").textContent = data.words;
  find(".frames").hidden = find(".tools").hidden = data.picture === null;
  look.opacity ??= data.opacity;
  if (data.empty) Object.assign(look, { zoom: 1, x: 0, y: 0, window: null });

  takeDrops();
  on(find(".choose"), "click", () => fileInput()?.click());
  on(find(".sample"), "click", () => setTriggerValue("sample", true));
  on(document, "keydown", walk);
  if (data.picture) drawPicture(data.picture);
  return () => closing.abort();

  // Arrow keys go to the slice before or after, wherever the focus is, but for fields that use them.
  function walk(event) {
    const focus = event.composedPath()[0];
    if (event.altKey || event.ctrlKey || event.metaKey || focus.closest?.(TYPING)) return;
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    const at = data.at + step;
    if (!step || data.at === null || at < 0 || at >= data.count) return;
    event.preventDefault();
    data.at = at;
    setTriggerValue("at", at);
  }

  async function drawPicture(picture) {
    const numbers = await inflated(picture);
    if (signal.aborted) return;
    if (look.series === null || look.series !== picture.series) look.window = null;
    look.series = picture.series;
    const middle = (low, high) => [(low + high) / 2, high - low];
    const stored = middle(...picture.window);
    const span = picture.high - picture.low || 1;
    const [centre, width] = [find("input.centre"), find("input.width")];
    const limits = (input, low, high) => Object.assign(input, { min: low, max: high, step: span > 200 ? Math.round(span / 200) : span / 200 });
    limits(centre, Math.min(picture.low, stored[0]), Math.max(picture.high, stored[0]));
    limits(width, span / 100, Math.max(2 * span, stored[1]));
    all(".heat").forEach((image) => (image.src = picture.heatmap ?? ""));
    find(".seen").hidden = find(".legend").hidden = picture.heatmap === null;
    all("canvas").forEach((canvas) => {
      Object.assign(canvas, { width: picture.width, height: picture.height });
      canvas.setAttribute("aria-label", data.words);
    });

    function drawValues() {
      const [c, w] = look.window ?? stored;
      const image = new ImageData(picture.width, picture.height);
      const grey = new Uint32Array(image.data.buffer);
      const scale = (picture.step * 255) / w;
      const offset = ((picture.low - c) / w + 0.5) * 255;
      for (let i = 0; i < numbers.length; i++) {
        let value = Math.min(255, Math.max(0, Math.floor(numbers[i] * scale + offset + 0.5)));
        if (picture.inverted) value = 255 - value;
        grey[i] = 0xff000000 | (value << 16) | (value << 8) | value;
      }
      all("canvas").forEach((canvas) => canvas.getContext("2d").putImageData(image, 0, 0));
      [centre.value, width.value] = [c, w];
      const digits = span > 20 ? 0 : 2;
      find(".centre-value").textContent = c.toFixed(digits);
      find(".width-value").textContent = w.toFixed(digits);
    }

    function place() {
      const heatmap = picture.heatmap !== null;
      const view = heatmap ? look.view : "slice";
      find(".frames").dataset.view = view;
      all(".heat").forEach((image, index) => {
        image.style.opacity = look.opacity;
        image.hidden = view === "slice" || (view === "both" && index === 0);
      });
      const reach = (look.zoom - 1) / 2;
      look.x = Math.min(reach, Math.max(-reach, look.x));
      look.y = Math.min(reach, Math.max(-reach, look.y));
      all(".layers").forEach((layers) => {
        layers.style.aspectRatio = `${picture.width} / ${picture.height}`;
        layers.style.transform = `translate(${100 * look.x}%, ${100 * look.y}%) scale(${look.zoom})`;
      });
      find(".frames").style.setProperty("--ratio", picture.width / picture.height);
      find(".frames").classList.toggle("enlarged", look.zoom > 1);
      find(".zoom").textContent = `${Math.round(100 * look.zoom)} %`;
      find(`input[value=${look.view}]`).checked = true;
      find(".opacity").value = 100 * look.opacity;
    }

    function zoomTo(zoom) {
      look.zoom = Math.min(ZOOMS.most, Math.max(ZOOMS.least, zoom));
      place();
    }

    function setWindow(c, w) {
      look.window = [Math.min(+centre.max, Math.max(+centre.min, c)), Math.min(+width.max, Math.max(+width.min, w))];
      drawValues();
    }

    on(find("fieldset"), "change", (event) => ((look.view = event.target.value), place()));
    on(find(".opacity"), "input", (event) => ((look.opacity = event.target.value / 100), place()));
    on(find(".in"), "click", () => zoomTo(look.zoom * ZOOMS.step));
    on(find(".out"), "click", () => zoomTo(look.zoom / ZOOMS.step));
    on(find(".fit"), "click", () => zoomTo(1));
    on(centre, "input", () => setWindow(+centre.value, (look.window ?? stored)[1]));
    on(width, "input", () => setWindow((look.window ?? stored)[0], +width.value));
    on(find(".reset"), "click", () => ((look.window = null), drawValues()));
    on(find(".frames"), "keydown", (event) => {
      const act = {
        "+": () => zoomTo(look.zoom * ZOOMS.step),
        "=": () => zoomTo(look.zoom * ZOOMS.step),
        "-": () => zoomTo(look.zoom / ZOOMS.step),
        0: () => zoomTo(1),
        h: () => ((look.view = look.view === "slice" ? "heatmap" : "slice"), place()),
      }[event.key.toLowerCase()];
      if (act && !event.ctrlKey && !event.metaKey) event.preventDefault(), act();
    });
    on(find(".frames"), "wheel", (event) => {
      // With Ctrl, which a pinch on a touchpad is too; without, the wheel moves the page.
      if (event.ctrlKey) event.preventDefault(), zoomTo(look.zoom * ZOOMS.step ** (-event.deltaY / 100));
    }, { passive: false });
    on(find(".frames"), "dblclick", () => zoomTo(look.zoom > 1 ? 1 : 2));
    on(find(".frames"), "contextmenu", (event) => event.preventDefault());
    on(find(".frames"), "pointerdown", (event) => {
      const windowed = event.button === 2;
      if (!windowed && look.zoom === 1) return;
      const frame = find(".frames");
      const box = find(".layers").getBoundingClientRect();
      const begin = { x: event.clientX, y: event.clientY, at: [look.x, look.y], window: look.window ?? stored };
      const drag = new AbortController();
      frame.setPointerCapture(event.pointerId);
      frame.addEventListener("pointermove", (moved) => {
        const [dx, dy] = [moved.clientX - begin.x, moved.clientY - begin.y];
        if (windowed) return setWindow(begin.window[0] + (dy / 300) * span, begin.window[1] + (dx / 300) * span);
        look.x = begin.at[0] + (dx / box.width) * look.zoom;
        look.y = begin.at[1] + (dy / box.height) * look.zoom;
        place();
      }, { signal: drag.signal });
      for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => drag.abort(), { signal: drag.signal });
    });
    drawValues();
    place();
  }

  async function inflated(picture) {
    const bytes = Uint8Array.from(atob(picture.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    return picture.bytes === 1 ? new Uint8Array(buffer) : new Uint16Array(buffer);
  }

  // Drops anywhere go to the field for files; a folder gives its files.
  function fileInput() {
    return document.querySelector("[class*=st-key-files] input[type=file]");
  }

  function takeDrops() {
    const cover = find(".dropping");
    const carries = (event) => event.dataTransfer?.types.includes("Files");
    on(window, "dragenter", (event) => carries(event) && !cover.matches(":popover-open") && cover.showPopover());
    on(window, "dragleave", (event) => event.relatedTarget === null && cover.hidePopover());
    on(window, "dragover", (event) => carries(event) && event.preventDefault(), { capture: true });
    on(window, "drop", async (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.stopPropagation();
      cover.hidePopover();
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      const files = entries.length ? (await Promise.all(entries.map(within))).flat() : [...event.dataTransfer.files];
      const kept = new DataTransfer();
      files.slice(0, data.most).forEach((file) => kept.items.add(file));
      find(".most").textContent = files.length > data.most
        ? data.texts.most.replace("{most}", data.most).replace("{count}", files.length) : "";
      const input = fileInput();
      if (!input || !kept.files.length) return;
      input.files = kept.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }, { capture: true });
  }

  async function within(entry) {
    if (entry.isFile) return [await new Promise((take, fail) => entry.file(take, fail))];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((take, fail) => reader.readEntries(take, fail));
      if (!some.length) return (await Promise.all(found.map(within))).flat();
      found.push(...some.filter((one) => !one.name.startsWith(".")));
    }
  }
}
