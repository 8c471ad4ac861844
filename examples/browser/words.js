// What the page says, in Falx's own sentences (falx.words, falx.slices.rejection).

export const NAMES = {
  no_tumor: "No tumour",
  meningioma: "Meningioma",
  glioma: "Glioma",
  pituitary: "Pituitary tumour",
  ambiguous: "Ambiguous",
  rejected: "Rejected",
};

export const RECOMMENDATIONS = {
  no_tumor: "No tumour was found in this slice; other slices and clinical findings still count.",
  meningioma: "Looks like a meningioma; a radiologist should confirm it on the full study.",
  glioma: "Looks like a glioma; a radiologist should confirm it on the full study.",
  pituitary: "Looks like a pituitary tumour; a radiologist should confirm it on the full study.",
  ambiguous: "No label is probable enough; a physician should look at this slice.",
  rejected: "Not classified; give one grey MRI slice of a head on a dark background.",
};

/** In the order of the model's output `reason`, which is 0 where nothing is rejected. */
export const REASONS = [
  "",
  "The picture has too few pixels to show a slice.",
  "The picture is of one brightness, or nearly.",
  "The picture has colours; an MRI slice is grey.",
  "The picture does not show a head on a dark background.",
  "The picture does not look like the brain MRI slices that the model learned from.",
  "The picture seems to show a head without brain: scalp, neck or face.",
];

const BANDS = { high: 0.85, moderate: 0.6, low: 0 };

/** The name of a confidence. */
export function band(confidence) {
  return Object.keys(BANDS).find((name) => confidence >= BANDS[name]);
}

/** 0.976 as "98 %". */
export function percent(share) {
  return `${Math.round(100 * share)}\u00a0%`;
}
