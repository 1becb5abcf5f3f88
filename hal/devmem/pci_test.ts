import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type PciNode, VireoError } from "@vireo/hal";
import { parsePciResources } from "../discover/mod.ts";
import { DevmemPlatform } from "./mod.ts";
import { compileShim } from "./_test_shim.ts";

/** Files as sysfs has them for one function; `bind` and `unbind` keep what is written. */
function fixture(
  driver?: string,
): { pci: string; shim: string; memory: string; at: string } & Disposable {
  const dir = Deno.makeTempDirSync();
  const at = `${dir}/devices/0000:00:03.0`;
  Deno.mkdirSync(at, { recursive: true });
  const config = new Uint8Array(256);
  const view = new DataView(config.buffer);
  view.setUint32(0, 0x1041_1af4, true);
  view.setUint16(4, 0x0103, true);
  view.setUint16(6, 0x10, true);
  view.setUint8(0x34, 0x40);
  view.setUint32(0x40, 0x8003_5011, true); // MSI-X, on
  view.setUint32(0x50, 0x0214_0009, true); // notify, in BAR 4
  view.setUint32(0x54, 4, true);
  view.setUint32(0x58, 0x100, true);
  view.setUint32(0x5c, 0x100, true);
  Deno.writeFileSync(`${at}/config`, config);
  Deno.writeTextFileSync(`${at}/vendor`, "0x1af4\n");
  Deno.writeTextFileSync(`${at}/device`, "0x1041\n");
  Deno.writeTextFileSync(`${at}/resource`, RESOURCE);
  Deno.writeFileSync(`${at}/resource0`, new Uint8Array(32));
  Deno.writeFileSync(`${at}/resource4`, new Uint8Array(0x4000));
  if (driver !== undefined) {
    Deno.mkdirSync(`${dir}/drivers/${driver}`, { recursive: true });
    for (const name of ["bind", "unbind"]) {
      Deno.writeTextFileSync(`${dir}/drivers/${driver}/${name}`, "");
    }
    Deno.symlinkSync(`${dir}/drivers/${driver}`, `${at}/driver`);
  }
  const memory = `${dir}/memory`;
  Deno.writeFileSync(memory, new Uint8Array(0x1000));
  const shim = compileShim(dir);
  const remove = (): void => Deno.removeSync(dir, { recursive: true });
  return { pci: `${dir}/devices`, shim, memory, at, [Symbol.dispose]: remove };
}

/** As Linux writes it: start, end and flags of six registers, the ROM, and bridge windows. */
const RESOURCE = [
  "0x000000000000c040 0x000000000000c05f 0x0000000000040101",
  "0x0000000000000000 0x0000000000000000 0x0000000000000000",
  "0x0000000000000000 0x0000000000000000 0x0000000000000000",
  "0x0000000000000000 0x0000000000000000 0x0000000000000000",
  "0x00000000fe000000 0x00000000fe003fff 0x000000000014220c",
  "0x0000000000000000 0x0000000000000000 0x0000000000000000",
  "0x00000000feb80000 0x00000000febbffff 0x0000000000046200",
  "",
].join("\n");

const open = (files: { pci: string; shim: string; memory: string }, unbind = false) =>
  DevmemPlatform.open({ ...files, slots: [], unbind });
const only = (platform: DevmemPlatform): PciNode => {
  assertEquals(platform.functions.length, 1);
  return platform.functions[0]!;
};

Deno.test("parsePciResources reads the six registers, not the ROM", () => {
  assertEquals(parsePciResources(RESOURCE), [
    { index: 0, space: "io", address: 0xc040, size: 0x20 },
    { index: 4, space: "memory", address: 0xfe00_0000, size: 0x4000 },
  ]);
  assertEquals(parsePciResources(""), []);
});

Deno.test("DevmemPlatform.rescan finds functions that Linux got or lost, and keeps the others", async () => {
  using files = fixture();
  await using platform = open(files);
  const node = only(platform);
  const late = `${files.pci}/0000:01:00.0`;
  Deno.mkdirSync(late);
  Deno.writeTextFileSync(`${late}/vendor`, "0x1af4\n");
  Deno.writeTextFileSync(`${late}/device`, "0x1044\n");
  assertEquals(platform.nodes(), [node]);
  platform.rescan();
  assertEquals(platform.nodes().map(({ name }) => name), ["0000:00:03.0", "0000:01:00.0"]);
  assertEquals(platform.nodes()[0], node);
  Deno.removeSync(files.at, { recursive: true });
  platform.rescan();
  assertEquals(platform.nodes().map(({ name }) => name), ["0000:01:00.0"]);
});

Deno.test("DevmemPlatform lists PCI functions and reaches their registers", async () => {
  using files = fixture();
  await using platform = open(files);
  const node = only(platform);
  assertEquals(platform.nodes(), [node]);
  assertEquals([node.name, node.vendor, node.device], ["0000:00:03.0", 0x1af4, 0x1041]);
  assertEquals(node.address, { segment: 0, bus: 0, device: 3, function: 0 });
  const lease = node.open();
  assertEquals(lease.config.size, 256);
  assertEquals(lease.config.read32(0), 0x1041_1af4);
  assertEquals(lease.bars.map(({ index }) => index), [0, 4]);
  assertEquals(lease.messages(1), undefined);
  assertEquals(lease.line?.polled, true);
  const ports = lease.openBar(0);
  ports.write32(0, 0xdead_beef);
  ports.write16(14, 0x1234);
  ports.write8(18, 0xab);
  const memory = lease.openBar(4);
  memory.write32(0x3ffc, 0x8765_4321);
  memory.write16(0x100, 0xcafe);
  assertEquals([ports.read32(0), ports.read16(2), ports.read8(18)], [0xdead_beef, 0xdead, 0xab]);
  assertEquals([memory.size, memory.read32(0x3ffc), memory.read8(0x101)], [
    0x4000,
    0x8765_4321,
    0xca,
  ]);
  const file = Deno.readFileSync(`${files.at}/resource0`);
  assertEquals([...file.subarray(14, 16), file[18]], [0x34, 0x12, 0xab]);
  assertEquals([...Deno.readFileSync(`${files.at}/resource4`).subarray(0x100, 0x102)], [
    0xfe,
    0xca,
  ]);
  assertThrows(() => lease.openBar(1), VireoError, "Cannot map a base address register");
  assertThrows(() => ports.read32(32), RangeError);
  assertThrows(() => memory.read32(0x4000), VireoError);
  lease[Symbol.dispose]();
  assertThrows(() => lease.config.read32(0), VireoError, "closed");
  assertThrows(() => ports.read32(0), VireoError, "closed");
  assertThrows(() => memory.read32(0), VireoError, "closed");
  lease[Symbol.dispose]();
});

Deno.test("a lease switches INTx off where nobody takes it down, and restores all", async () => {
  using files = fixture();
  await using platform = open(files);
  const read = (at: number) =>
    new DataView(Deno.readFileSync(`${files.at}/config`).buffer).getUint16(at, true);
  {
    using lease = only(platform).open();
    assertEquals(read(4), 0x0503);
    lease.config.write16(4, 0x0507);
    lease.config.write16(0x42, 0);
  }
  assertEquals([read(4), read(0x42)], [0x0103, 0x8003]);
});

Deno.test("a function that a Linux driver has is taken with leave only, and given back", async () => {
  using files = fixture("virtio-pci");
  const written = (name: string) =>
    Deno.readTextFileSync(`${files.pci}/../drivers/virtio-pci/${name}`);
  {
    await using platform = open(files);
    const error = assertThrows(() => only(platform).open(), VireoError, "saw virtio-pci");
    assertEquals([error.code, written("unbind")], ["BAD_ACCESS", ""]);
  }
  await using platform = open(files, true);
  const lease = only(platform).open();
  assertEquals([written("unbind"), written("bind")], ["0000:00:03.0", ""]);
  lease[Symbol.dispose]();
  assertEquals(written("bind"), "0000:00:03.0");
});

Deno.test("of a function that Linux has removed reads are ones, writes are lost, and its lease ends in order", async () => {
  using files = fixture("virtio-pci");
  await using platform = open(files, true);
  const lease = only(platform).open();
  const memory = lease.openBar(4);
  memory.write32(0x10, 0x1234_5678);
  const other = platform.openMemory(0, 4096);
  // Linux takes the pages of a window away, as this does: what is touched next is a SIGBUS.
  Deno.truncateSync(`${files.at}/resource4`, 0);
  assertEquals([memory.read32(0x10), memory.read16(0x3ffe), memory.read8(1)], [
    0xffff_ffff,
    0xffff,
    0xff,
  ]);
  memory.write16(0x100, 7);
  assertEquals(Deno.statSync(`${files.at}/resource4`).size, 0);
  assertEquals(other.bytes[0], 0, "another window stays as it is");
  other[Symbol.dispose]();
  Deno.removeSync(files.at, { recursive: true });
  lease[Symbol.dispose]();
  const bind = `${files.pci}/../drivers/virtio-pci/bind`;
  assertEquals(Deno.readTextFileSync(bind), "", "nothing is there to give back");
});

Deno.test("a function that Linux's UIO does not take is polled, and nothing stays of the attempt", async () => {
  using files = fixture();
  const drivers = `${files.pci}/../drivers/uio_pci_generic`;
  Deno.mkdirSync(drivers, { recursive: true });
  for (const name of ["bind", "unbind"]) Deno.writeTextFileSync(`${drivers}/${name}`, "");
  await using platform = open(files);
  using lease = only(platform).open();
  assertEquals(lease.line?.polled, true);
  assertEquals(Deno.readTextFileSync(`${drivers}/bind`), "0000:00:03.0");
  assertEquals(Deno.readTextFileSync(`${drivers}/unbind`), "");
  assertEquals(Deno.readTextFileSync(`${files.at}/driver_override`), "\n");
});

Deno.test("DevmemPlatform says which kernel module cannot be loaded", () => {
  using files = fixture();
  const modules = [`${files.pci}/none.ko`];
  const error = assertThrows(
    () => DevmemPlatform.open({ ...files, slots: [], modules }),
    VireoError,
    "none.ko): saw ENOENT (no such file",
  );
  assertEquals(error.code, "HOST_ERROR");
});

Deno.test("a write to where the device is notified makes the poller look at once", async () => {
  using files = fixture();
  await using platform = open(files);
  using lease = only(platform).open();
  const writes: [bar: number, offset: number][] = [[4, 0x100], [4, 0x1fe], [0, 16]];
  for (const [bar, offset] of [...writes, [4, 0xfe], [4, 0x200], [0, 14]] as typeof writes) {
    let asked = 0;
    const stop = new AbortController();
    const expected = () => ++asked > 0; // asked after a notification only
    const wait = lease.line!.wait({ signal: stop.signal, ready: () => false, expected });
    lease.openBar(bar).write16(offset, 0);
    await Promise.resolve();
    assertEquals(asked, writes.some(([b, o]) => b === bar && o === offset) ? 1 : 0, `${offset}`);
    stop.abort(new Error("enough"));
    await assertRejects(() => wait, Error, "enough");
  }
});

Deno.test("without a PCI bus there are no functions; given slots stand alone", async () => {
  using files = fixture();
  await using none = open({ ...files, pci: `${files.pci}/none` });
  assertEquals(none.functions, []);
  const { shim, memory } = files;
  await using slots = DevmemPlatform.open({ shim, memory, slots: [] });
  assertEquals(slots.nodes(), []);
});
