// Sends frames to a modem, which sends them back in buffers of its own: a ring with its sides reversed.
//
//   vireo run --with caif examples/caif.ts
import { caifDriver } from "@vireo/drivers/caif";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const options = { signal: vireo.signal, deadline: 5000 };
  const caif = vireo.get(caifDriver);
  const { headroom, tailroom, maxFrame } = caif.downlink;
  console.log(`frames of up to ${maxFrame} bytes, ${headroom} before and ${tailroom} behind each`);
  const frames = Array.from({ length: 100 }, (_, i) => new Uint8Array(40 * (i + 1)).fill(i));
  const sent = Promise.all(frames.map((frame) => caif.send(frame, options)));
  let bytes = 0;
  for (const frame of frames) {
    const back = await caif.receive(options);
    if (back.length !== frame.length || back.some((byte) => byte !== frame[0])) {
      throw new Error(`A frame of ${frame.length} bytes came back as one of ${back.length}`);
    }
    bytes += back.length;
  }
  await sent;
  console.log(`${frames.length} frames, ${bytes} bytes, came back as they were sent`);
}
