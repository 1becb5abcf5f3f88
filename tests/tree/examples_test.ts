// Every class and function that a user calls has an example, which tests/docs/doc_examples_test.ts runs.
import { assertEquals } from "@std/assert";
import { packageModules, publishedBy, SOURCES } from "./sources.ts";

/** Published, and not made or called by users: by the reason, `file:name`. */
const WITHOUT: Readonly<Record<string, readonly string[]>> = {
  "DevmemPlatform makes it": [
    "hal/devmem/dma.ts:HugepageDma",
    "hal/discover/pci_assign.ts:PciAssignment",
    "hal/discover/pci_slot.ts:PciSlot",
  ],
  "VhostUserPlatform makes it": [
    "hal/vhost_user/front_end.ts:VhostUserFrontEnd",
    "hal/vhost_user/socket.ts:VhostUserSocket",
  ],
  "the bus makes it": [
    "drivers/transport/vhost_user.ts:VhostUserTransport",
    "drivers/virtqueue/host_ring.ts:HostRing",
  ],
  "a device model makes it of its options": [
    "emu/devices/blk/zones.ts:EmulatedZones",
    "emu/devices/console/port.ts:ConsolePort",
    "emu/devices/net/filter.ts:RxFilter",
  ],
  "HostedDevice makes it when the driver sets a queue up": [
    "emu/ring/in_order.ts:InOrder",
    "emu/ring/make_queue.ts:checkRing",
    "emu/ring/make_queue.ts:makeQueue",
    "emu/ring/packed.ts:PackedQueue",
    "emu/ring/packed_geometry.ts:checkPackedGeometry",
    "emu/ring/position.ts:forwardPosition",
    "emu/ring/queue_config.ts:QueueConfig",
    "emu/ring/reversed.ts:ReversedQueue",
    "emu/ring/split.ts:SplitQueue",
    "emu/ring/split.ts:checkGeometry",
  ],
  "EmulatedMachine makes it for a device on its bus": [
    "emu/transport/pci/config_space.ts:ConfigSpace",
    "emu/transport/pci/messages.ts:MessageController",
    "emu/transport/pci/msix.ts:MsixTable",
    "emu/transport/pci/registers.ts:RegisterFile",
    "emu/transport/queue_registers.ts:QueueRegisters",
  ],
  "VhostUserServer makes it": [
    "emu/transport/vhost_user/device.ts:VhostUserDevice",
    "emu/transport/vhost_user/memory_map.ts:MemoryMap",
  ],
  "guestImage does it, with packages from Debian's mirror or a compiler": [
    "firmware/image/debian.ts:Debian",
    "firmware/image/module_cache.ts:moduleCaches",
    "firmware/image/shim.ts:compileShims",
  ],
};

const DOCUMENTED =
  /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?export (?:async |abstract )?(?:class|function\*?) (\w+)/g;

/** The published classes and functions without an example, as `file:name`. */
function withoutExample(
  texts: ReadonlyMap<string, string>,
  modules: ReadonlyMap<string, string>,
): string[] {
  const published = new Set(
    [...modules.values()].flatMap((file) => publishedBy(file, texts, modules, { values: true })),
  );
  const found = new Map<string, boolean>();
  for (const [file, text] of texts) {
    for (const [, doc = "", name] of text.matchAll(DOCUMENTED)) {
      const key = `${file}:${name}`;
      // One overload with an example is enough.
      if (published.has(key)) found.set(key, found.get(key) || doc.includes("@example"));
    }
  }
  return [...found].filter(([, has]) => !has).map(([key]) => key).sort();
}

Deno.test("examples: what has none is found, unless it is a type or is not published", () => {
  const texts = new Map([
    ["a/mod.ts", 'export * from "./one.ts";\nexport type * from "./two.ts";\n'],
    [
      "a/one.ts",
      "/** A. */\nexport class A {}\n/**\n * B.\n *\n * @example\n */\nexport abstract class B {}\n" +
      "export async function c() {}\n/** D. */\nexport interface D {}\nfunction e() {}\n",
    ],
    ["a/two.ts", "/** F. */\nexport class F {}\n"],
    ["a/three.ts", "/** G. */\nexport class G {}\n"],
  ]);
  assertEquals(withoutExample(texts, new Map([["@a", "a/mod.ts"]])), ["a/one.ts:A", "a/one.ts:c"]);
});

Deno.test("examples: every class and function that a user calls has one", () => {
  const texts = new Map(
    SOURCES.map((
      { path },
    ) => [path, Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url))]),
  );
  assertEquals(withoutExample(texts, packageModules()), Object.values(WITHOUT).flat().sort());
});
