// A slice with its heatmap in colour over it, as falx.pictures.overlay draws it.

/** From a heatmap of 0 to 1: blue, cyan, yellow, red; interpolated between. */
const COLOURS = [
  [0, 0, 160],
  [0, 160, 220],
  [250, 220, 40],
  [230, 30, 20],
];

/** Less than this, 0 to 1, is called nothing. */
const LEAST = 0.05;

/**
 * The slice with the heatmap over it: an ImageData.
 *
 * @param slice an ImageData
 * @param heatmap a value a pixel, 0 to 1
 * @param opacity how much of the colour covers the slice where the heatmap is 1, 0 to 1
 */
export function overlay(slice, heatmap, opacity) {
  const mixed = new ImageData(new Uint8ClampedArray(slice.data), slice.width, slice.height);
  for (let i = 0; i < heatmap.length; i++) {
    const share = opacity * heatmap[i];
    if (share === 0) continue;
    const place = heatmap[i] * (COLOURS.length - 1);
    const stop = Math.min(Math.floor(place), COLOURS.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const low = COLOURS[stop][channel];
      const colour = low + (COLOURS[stop + 1][channel] - low) * (place - stop);
      const at = 4 * i + channel;
      mixed.data[at] = slice.data[at] * (1 - share) + colour * share; // rounded by its type
    }
  }
  return mixed;
}

/** Where the heatmap is highest, in words. */
export function highest(heatmap, width) {
  let peak = 0;
  for (let i = 1; i < heatmap.length; i++) if (heatmap[i] > heatmap[peak]) peak = i;
  if (!(heatmap[peak] >= LEAST)) return "Nothing in it speaks for a tumour.";
  const height = heatmap.length / width;
  const row = ["upper", "middle", "lower"][Math.floor((3 * Math.floor(peak / width)) / height)];
  const column = ["left", "centre", "right"][Math.floor((3 * (peak % width)) / width)];
  const place = row === "middle" && column === "centre" ? "centre" : `${row} ${column}`;
  return `The heatmap is highest, ${heatmap[peak].toFixed(2)} of 1, in the ${place} of the picture.`;
}
