/**
 * Two network drivers on one emulated hub, batch interface, 64-byte frames: frames delivered end to
 * end, from the slot of one driver to the callback of the other.
 *
 * @module
 */
import { Hub } from "../../emu/backends/hub.ts";
import { Rig } from "./net_rig.ts";

const BATCH = 128;

async function setUp(length: number): Promise<() => number> {
  const hub = new Hub();
  const a = await Rig.open({ backend: hub.port(), mac: "02:00:00:00:00:0a" });
  const b = await Rig.open({ backend: hub.port(), mac: "02:00:00:00:00:0b" });
  const tx = a.net.tx();
  for (const bytes of tx.frames) {
    bytes.set(b.net.mac, 0);
    bytes.set(a.net.mac, 6);
    bytes.set([0x88, 0xb5], 12);
  }
  let received = 0;
  b.net.onFrame = (rx) => {
    if (rx.length === length) received++;
  };
  return () => {
    const before = received;
    for (let i = 0; i < BATCH; i++) tx.submit(tx.reserve(), length);
    tx.kick();
    b.net.poll();
    tx.reclaim();
    return received - before;
  };
}

if (import.meta.main) {
  const ROUNDS = 40_000;
  for (const length of [64, 1514]) {
    const round = await setUp(length);
    for (let i = 0; i < 4000; i++) round();
    const heap = Deno.memoryUsage().heapUsed;
    const begin = performance.now();
    let frames = 0;
    for (let i = 0; i < ROUNDS; i++) frames += round();
    const seconds = (performance.now() - begin) / 1000;
    const grown = Deno.memoryUsage().heapUsed - heap;
    console.log(
      `${length} bytes: ${(frames / seconds / 1e6).toFixed(2)} million frames/s, ` +
        `${(seconds / frames * 1e9).toFixed(0)} ns a frame, ${frames} of ${ROUNDS * BATCH} ` +
        `arrived, heap grew ${(grown / frames).toFixed(2)} bytes a frame`,
    );
  }
}

for (const length of [64, 1514]) {
  const round = await setUp(length);
  Deno.bench(`net: ${BATCH} frames of ${length} bytes, driver to driver over the hub`, () => {
    round();
  });
}
