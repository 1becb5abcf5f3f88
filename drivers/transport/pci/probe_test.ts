import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { standardCapabilities, virtioCapability } from "../../testing/pci_config_script.ts";
import { type PciScript, ScriptedPci } from "../../testing/scripted_pci.ts";
import { dma, legacy, modern } from "./test_util.ts";
import { isReservedPci, isVirtioPci, probePci } from "./probe.ts";

const broken = [virtioCapability({ type: 1, length: 8 }), ...standardCapabilities().slice(1)];

/** What is chosen, or the code of the error. */
function choice(script: PciScript, forceLegacy = false): [string, number | undefined, string] {
  const fn = new ScriptedPci(script);
  try {
    using transport = probePci(fn, dma, { forceLegacy });
    return [transport.kind, transport.deviceId, transport.pci!.why];
  } catch (error) {
    if (!(error instanceof VireoError)) throw error;
    return [error.code, undefined, error.message];
  } finally {
    assertEquals(fn.leases, 0);
  }
}

Deno.test("pci ids: vendor 0x1af4, devices 0x1000 to 0x107f (drv.pci.discovery.1, .2)", () => {
  const is = (vendor: number, device: number): boolean => isVirtioPci({ vendor, device });
  assertEquals([0x0fff, 0x1000, 0x107f, 0x1080].map((device) => is(0x1af4, device)), [
    false,
    true,
    true,
    false,
  ]);
  assertEquals(is(0x1b36, 0x1000), false);
  assertEquals(choice({ vendor: 0x1b36 })[0], "NO_DEVICE");
  assertEquals(choice({ device: 0x1080 })[0], "NO_DEVICE");
  const reserved = [0x107f, 0x1080, 0x10ff, 0x1100];
  assertEquals(reserved.map((device) => isReservedPci({ vendor: 0x1af4, device })), [
    false,
    true,
    true,
    false,
  ]);
});

Deno.test("pci device id: the subsystem's below 0x1040, else the function's", () => {
  assertEquals(choice({ device: 0x1041, subsystem: 7 }).slice(0, 2), ["pci-modern", 1]);
  assertEquals(choice({ device: 0x103f, subsystem: 7 }).slice(0, 2), ["pci-modern", 7]);
  assertEquals(choice({ device: 0x1000, subsystem: 1, capabilities: [] }).slice(0, 2), [
    "pci-legacy",
    1,
  ]);
  for (const [, transport] of [modern(), legacy()]) assertEquals(transport.vendorId, 0x1af4);
  // Id 0 is reserved.
  assertEquals(choice({ device: 0x1040 })[0], "NO_DEVICE");
  assertEquals(choice({ device: 0x1000, subsystem: 0 })[0], "NO_DEVICE");
});

Deno.test("pci chooses modern first, and legacy only where there is no modern device (drv.pci.legacy-detection.1, .2)", () => {
  assertEquals(choice({ device: 0x1000 }), ["pci-modern", 42, "it has a COMMON structure"]);
  const [kind, , why] = choice({ device: 0x1000, capabilities: [] });
  assertEquals(kind, "pci-legacy");
  assertStringIncludes(why, "the function has no COMMON structure");
  // A modern interface that is malformed is no reason to use the legacy one.
  assertEquals(choice({ device: 0x1000, capabilities: broken })[0], "BAD_CAPABILITY");
  // Only transitional ids of revision 0 have a legacy interface (drv.pci.discovery.3).
  assertEquals(choice({ device: 0x106a, capabilities: [] })[0], "NO_DEVICE");
  assertEquals(choice({ device: 0x1000, revision: 1, capabilities: [] })[0], "NO_DEVICE");
  assertEquals(choice({ device: 0x1000, revision: 1 })[0], "pci-modern");
  assertEquals(choice({ device: 0x106a, revision: 0 })[0], "pci-modern");
});

Deno.test("pci takes a modern function of any revision (drv.pci.discovery.3)", () => {
  for (const device of [0x1000, 0x106a]) {
    for (const revision of [0, 1, 2, 0x7f, 0xff]) {
      assertEquals(choice({ device, revision })[0], "pci-modern", `revision ${revision}`);
    }
  }
});

Deno.test("pci with forceLegacy chooses legacy first, and modern where there is none or BAR 0 cannot be mapped", () => {
  assertEquals(choice({ device: 0x1000 }, true).slice(0, 1), ["pci-legacy"]);
  assertEquals(choice({ device: 0x1000, capabilities: broken }, true)[0], "pci-legacy");
  assertEquals(choice({ device: 0x106a }, true)[0], "pci-modern");
  assertEquals(choice({ device: 0x1000, revision: 1 }, true)[0], "pci-modern");
  const [kind, , why] = choice({ device: 0x1000, unmapped: [0] }, true);
  assertEquals(kind, "pci-modern");
  assertStringIncludes(why, "legacy was asked for, but: Cannot map the legacy interface in BAR0");
  assertEquals(choice({ device: 0x1000, bars: [] }, true)[0], "NO_DEVICE");
});

Deno.test("pci legacy without BAR 0 is out of memory, as in Linux", () => {
  assertEquals(choice({ device: 0x1000, capabilities: [], bars: [] })[0], "OUT_OF_MEMORY");
  assertEquals(choice({ device: 0x1000, capabilities: [], unmapped: [0] })[0], "OUT_OF_MEMORY");
  const short = [{ index: 0, space: "io", address: 0xc000, size: 16 }] as const;
  assertEquals(choice({ device: 0x1000, capabilities: [], bars: short })[0], "OUT_OF_MEMORY");
});

Deno.test("pci legacy works in a memory BAR too", () => {
  const bars = [{ index: 0, space: "memory", address: 0xfe00_0000, size: 0x1000 }] as const;
  const fn = new ScriptedPci({ device: 0x1000, capabilities: [], bars });
  using transport = probePci(fn, dma);
  assertEquals([transport.kind, fn.command], ["pci-legacy", 0x2 | 0x4]);
});

Deno.test("pci lets the BARs decode before it looks, and the function reach memory when it is used", () => {
  const fn = new ScriptedPci({ device: 0x1000 });
  using transport = probePci(fn, dma);
  assertEquals(fn.command, 0x1 | 0x2 | 0x4);
  const { address, vendor, device, revision, bars, vectors, chosen } = transport.pci!;
  assertEquals(
    { address, vendor, device, revision, bars: bars.map(({ index }) => index), vectors, chosen },
    {
      address: { segment: 0, bus: 0, device: 3, function: 0 },
      vendor: 0x1af4,
      device: 0x1000,
      revision: 0,
      bars: [0, 1, 4],
      vectors: 0,
      chosen: "modern",
    },
  );
  const refused = new ScriptedPci({ capabilities: broken });
  assertThrows(() => probePci(refused, dma), VireoError);
  assertEquals(refused.command & 0x4, 0);
});
