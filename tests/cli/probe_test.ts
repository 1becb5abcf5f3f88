import { assertEquals, assertStringIncludes } from "@std/assert";
import { EmulatedMachine } from "@vireo/emu";
import { EchoModel } from "@vireo/emu/testing";
import { FeatureSet } from "@vireo/hal";
import { Bus } from "../../drivers/bus/bus.ts";
import { boardText, describeBoard } from "../../firmware/commands/probe.ts";
import type { BoardOptions } from "../../firmware/target/options.ts";
import type { Vireo } from "../../firmware/vireo.ts";

/** What `probe` tells of a device that no driver is for. */
async function report(id: number, features: readonly number[], version: 1 | 2 = 2) {
  const model = new EchoModel({ features: FeatureSet.of(...features) });
  Object.defineProperty(model, "deviceId", { value: id });
  const machine = EmulatedMachine.create({ devices: [{ model, version }], slots: 1 });
  await using bus = new Bus();
  await bus.addPlatform(machine);
  const vireo = { target: "emu", platform: machine, bus } as unknown as Vireo;
  return describeBoard(vireo, {} as BoardOptions);
}

Deno.test("probe: what a device without a driver offers is told by name", async () => {
  const iommu = await report(23, [0, 2, 6, 12]);
  const [device] = iommu.devices;
  const ring = ["INDIRECT_DESC", "EVENT_IDX", "VERSION_1", "RING_RESET"];
  assertEquals([device!.type, device!.driver, device!.negotiated], ["iommu", null, []]);
  assertEquals(device!.offered, ["INPUT_RANGE", "MAP_UNMAP", "BYPASS_CONFIG", "bit 12", ...ring]);
  assertEquals(device!.rings.offered, ring);
  assertStringIncludes(
    boardText(iommu),
    "  offered     INPUT_RANGE MAP_UNMAP BYPASS_CONFIG bit 12",
  );
  const [fs] = (await report(26, [0], 1)).devices;
  assertEquals([fs!.type, fs!.offered[0]], ["fs", "NOTIFICATION"]);
  const [net] = (await report(1, [5, 50, 53])).devices;
  assertEquals([net!.type, net!.offered.filter((name) => !ring.includes(name))], [
    "net",
    ["MAC", "DEVICE_STATS", "NOTF_COAL"],
  ]);
});
