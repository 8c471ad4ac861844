// The card of a model, from the metadata of its ONNX file.
//
// Protocol buffers: https://protobuf.dev/programming-guides/encoding/. ModelProto has its metadata_props in
// field 14, each with a key in field 1 and a value in field 2 (onnx.proto). The graph, nearly all of the
// file, is one field that is stepped over.

const METADATA = 14;
const KEY = 1;
const VALUE = 2;

/** The card as an object; throws where the file has none. */
export function readCard(bytes) {
  const decoder = new TextDecoder();
  for (const [number, entry] of fields(bytes)) {
    if (number !== METADATA) continue;
    const parts = Object.fromEntries(fields(entry));
    if (decoder.decode(parts[KEY]) === "falx") return JSON.parse(decoder.decode(parts[VALUE]));
  }
  throw new Error("The model's file has no card of Falx.");
}

/** The number and the bytes of each field; numbers, which have no length of their own, as undefined. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new Error("The model's file is cut short.");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag & 7;
    let value;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      value = bytes.subarray(at, at + length);
      at += length;
    } else throw new Error("The model's file is no ONNX file.");
    yield [tag >>> 3, value];
  }
}
