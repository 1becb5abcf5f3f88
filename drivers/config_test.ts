import { assertEquals, assertThrows } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import { board } from "./bus/bus_test_util.ts";
import { DeviceConfig } from "./config.ts";
import type { DeviceScript } from "./testing/scripted_device.ts";

function config(script: DeviceScript) {
  const { scripted, transport } = board(script);
  return { scripted, config: new DeviceConfig(transport) };
}

const BYTES = Uint8Array.of(0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x02, 0x00);

Deno.test("config fields up to 32 bits take one access without a generation", () => {
  const { scripted, config: space } = config({ config: BYTES.slice() });
  assertEquals([space.read8(1), space.read16(2), space.read32(0)], [0x77, 0x5566, 0x55667788]);
  assertEquals(scripted.log, ["r Config+1:1 0x77", "r Config+2:2 0x5566", "r Config+0 0x55667788"]);
});

Deno.test("config wide fields are read between two equal generations (drv.basic.config-space.1, .2)", () => {
  const { scripted, config: space } = config({
    config: BYTES.slice(),
    reads: { ConfigGeneration: [1, 2, 2] },
  });
  assertEquals(space.read64(0), 0x2_3344_5566_7788);
  assertEquals(scripted.log, [
    "r ConfigGeneration 0x1",
    "r Config+0 0x55667788",
    "r Config+4 0x23344",
    "r ConfigGeneration 0x2",
    "r Config+0 0x55667788",
    "r Config+4 0x23344",
    "r ConfigGeneration 0x2",
  ]);
});

Deno.test("config arrays are read byte by byte between two equal generations", () => {
  const { scripted, config: space } = config({ config: BYTES.slice() });
  assertEquals(space.readBytes(5, 2), Uint8Array.of(0x33, 0x02));
  assertEquals(scripted.log, [
    "r ConfigGeneration 0x0",
    "r Config+5:1 0x33",
    "r Config+6:1 0x2",
    "r ConfigGeneration 0x0",
  ]);
});

Deno.test("config that never stands still is an error", () => {
  let generation = 0;
  const { config: space } = config({ reads: { ConfigGeneration: () => ++generation } });
  const error = assertThrows(() => space.read64(0), VireoError);
  assertEquals([error.code, error.device, error.register, error.seen, error.expected], [
    "CONFIG_UNSTABLE",
    "virtio-mmio@a000000",
    "ConfigGeneration",
    1001,
    "the same value twice within 1000 attempts",
  ]);
});

Deno.test("config of a legacy device is read until two reads agree (drv.basic.legacy-config-space.1)", () => {
  let reads = 0;
  const script: DeviceScript = {
    version: 1,
    features: FeatureSet.NONE,
    // The first pass sees half of a change; the second and third agree.
    reads: { Config: (honest, offset) => ++reads <= 4 && offset === 0x100 ? 0xff : honest },
    config: BYTES.slice(),
  };
  const { config: space } = config(script);
  assertEquals(space.readBytes(0, 4), Uint8Array.of(0x88, 0x77, 0x66, 0x55));
  assertEquals(reads, 12);
  assertEquals(space.read64(0), 0x2_3344_5566_7788);
  assertEquals(reads, 12 + 16);
});

Deno.test("config of a legacy device that never agrees is an error", () => {
  let reads = 0;
  const { config: space } = config({ version: 1, reads: { Config: () => ++reads & 0xff } });
  assertEquals(assertThrows(() => space.readBytes(0, 3), VireoError).code, "CONFIG_UNSTABLE");
});

Deno.test("config 64-bit values that a number cannot hold are an error", () => {
  const { config: space } = config({ config: new Uint8Array(8).fill(0xff) });
  const error = assertThrows(() => space.read64(0), VireoError);
  assertEquals([error.code, error.register, error.seen], [
    "CONFIG_INVALID",
    "Config+0",
    "0xffffffffffffffff",
  ]);
});

Deno.test("config writes take one access of the field's width", () => {
  const { scripted, config: space } = config({});
  space.write8(0, 1);
  space.write16(2, 2);
  space.write32(4, 3);
  assertEquals(scripted.log, ["w Config+0:1 0x1", "w Config+2:2 0x2", "w Config+4 0x3"]);
});

Deno.test("config: each access asks first whether there may be one", () => {
  const { scripted, transport } = board({ config: BYTES.slice() });
  let asked = 0;
  const space = new DeviceConfig(transport, () => {
    if (++asked > 3) throw new Error("not now");
  });
  assertEquals([space.read8(0), space.read16(0), space.read32(0), asked], [
    ...[0x88, 0x7788, 0x55667788, 3],
  ]);
  scripted.takeLog();
  assertThrows(() => space.read8(0), Error, "not now");
  assertEquals(scripted.log, []);
});
