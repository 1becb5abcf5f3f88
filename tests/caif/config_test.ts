// The configuration, its limits, and what Linux does without: numbers typed again from Linux's caif_virtio.c.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CaifDevice, type CaifDeviceOptions } from "@vireo/emu";
import { VireoError } from "@vireo/hal";
import { rig, SOON } from "./caif_rig.ts";

/** A modem whose configuration is these bytes and no more. */
class ConfiguredDevice extends CaifDevice {
  override readonly configSize: number;
  readonly #bytes: readonly number[];

  constructor(bytes: readonly number[], options: Partial<CaifDeviceOptions> = {}) {
    super({ onFrame: (frame, self) => self.send(frame), ...options });
    this.configSize = bytes.length;
    this.#bytes = bytes;
  }

  override readConfig(offset: number, width: 1 | 2 | 4): number {
    let value = 0;
    for (let i = 0; i < width; i++) value += (this.#bytes[offset + i] ?? 0) * 2 ** (8 * i);
    return value;
  }
}

/** A direction byte by byte: headroom and tailroom of 16 bits, MTU of 32, four reserved. */
function direction(headroom: number, tailroom: number, mtu: number): number[] {
  const byte = (value: number, i: number): number => Math.floor(value / 256 ** i) & 255;
  const word16 = (value: number): number[] => [0, 1].map((i) => byte(value, i));
  const word32 = (value: number): number[] => [0, 1, 2, 3].map((i) => byte(value, i));
  return [...word16(headroom), ...word16(tailroom), ...word32(mtu), 0, 0, 0, 0];
}

/** What Linux has where a device has no configuration: CFV_DEF_HEADROOM, _TAILROOM and _MTU_SIZE. */
const LINUX = { headroom: 32, tailroom: 32, mtu: 4096, maxFrame: 4032 };

Deno.test("caif: each direction is read from where it is", async () => {
  const model = new ConfiguredDevice([
    ...direction(0x0102, 0x0304, 0x1_0000),
    ...direction(5, 6, 0xffff_ffff),
    ...new Array(8).fill(0),
  ]);
  await using it = await rig({}, { devices: [model] });
  assertEquals(it.caif.uplink, {
    headroom: 258,
    tailroom: 772,
    mtu: 65536,
    maxFrame: 64506,
  });
  assertEquals(it.caif.downlink, {
    headroom: 5,
    tailroom: 6,
    mtu: 4294967295,
    maxFrame: 4294967284,
  });
});

Deno.test("caif: without a configuration headroom, tailroom and MTU are Linux's", async () => {
  await using it = await rig({}, { devices: [new ConfiguredDevice([])], bus: "pci" });
  assertEquals([it.caif.uplink, it.caif.downlink], [LINUX, LINUX]);
  await it.caif.send(new Uint8Array(4032).fill(7), SOON);
  assertEquals(await it.caif.receive(SOON), new Uint8Array(4032).fill(7));
});

for (const bus of ["mmio", "pci"] as const) {
  Deno.test(`caif: the uplink stands for a downlink that says nothing, over ${bus}`, async () => {
    const sizes = { headroom: 9, tailroom: 2, mtu: 200 };
    const model = new ConfiguredDevice(direction(9, 2, 200), sizes);
    await using it = await rig({}, { devices: [model], bus });
    assertEquals(it.caif.uplink, { ...sizes, maxFrame: 189 });
    assertEquals(it.caif.downlink, it.caif.uplink);
    await it.caif.send(new Uint8Array(189).fill(7), SOON);
    assertEquals(await it.caif.receive(SOON), new Uint8Array(189).fill(7));
  });
}

Deno.test("caif: an MTU without room for a frame is refused, and half a configuration too", async () => {
  const refused: [number[], string, unknown][] = [
    [direction(32, 32, 64), "CONFIG_INVALID", 64],
    [direction(0, 0, 0), "CONFIG_INVALID", 0],
    [direction(0xffff, 0xffff, 4096), "CONFIG_INVALID", 4096],
    [[...direction(0, 0, 1), ...direction(4, 4, 8)], "CONFIG_INVALID", 8],
    [direction(32, 32, 4096).slice(0, 4), "CONFIG_ACCESS", 8],
  ];
  for (const [bytes, code, seen] of refused) {
    const error = await assertRejects(
      () => rig({}, { devices: [new ConfiguredDevice(bytes)], bus: "pci" }),
      VireoError,
    );
    assertEquals([error.code, error.seen], [code, seen]);
  }
});

// Linux: `frm_len > mru || frm_len <= rx_hr + rx_tr` is an error, and so is `tx_hr + len + tx_tr > mtu`.
Deno.test("caif: the MTU counts headroom and tailroom, as Linux counts it", async () => {
  const lengths: number[] = [];
  await using it = await rig({
    headroom: 7,
    tailroom: 3,
    mtu: 100,
    onFrame: (bytes) => void lengths.push(bytes.length),
  });
  const { caif, modem } = it;
  assertEquals([caif.uplink.maxFrame, modem.maxFrame], [90, 90]);
  await caif.send(new Uint8Array(90), SOON);
  await caif.send(new Uint8Array(1), SOON);
  assertEquals(lengths, [90, 1]);
  await assertRejects(() => caif.send(new Uint8Array(91)), RangeError, "1 to 90");
  for (const [length, frame] of [[100, 90], [11, 1]] as const) {
    assert(modem.offer(length, () => {}));
    assertEquals((await caif.receive(SOON)).length, frame);
  }
  assert(modem.offer(101, () => {}));
  const error = await assertRejects(() => caif.receive(SOON), VireoError);
  assertEquals([error.code, error.seen, error.expected], [
    "CHAIN_SHAPE",
    101,
    "a buffer of 11 to 100 bytes",
  ]);
});
