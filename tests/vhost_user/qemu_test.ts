import { assert, assertEquals, assertRejects } from "@std/assert";
import { blkDriver } from "@vireo/drivers";
import { Feature } from "@vireo/hal";
import type { BoardOptions } from "../../firmware/target/options.ts";
import { openVireo } from "../../firmware/session.ts";
import { checkPairs, deadline, DEVICES } from "./device_checks.ts";
import { Served, type ServedOptions } from "./served.ts";
import { temporaryFolder } from "./daemon.ts";
import { isNewer } from "../qemu/mod.ts";
import { wait } from "./wait.ts";

/** For checks that ask nothing of the device's side. */
const NOBODY = undefined as unknown as Served;
const NO_DISK = { path: undefined, readOnly: false, serial: undefined, blockSize: undefined };

/** What a network device behind vhost must have where QEMU ends by a null pointer otherwise. */
const NO_VECTORS = isNewer("FRONT_END_VECTORS") ? "" : ",vectors=0";
/**
 * QEMU's front ends on virtio-mmio and on PCI. Without KVM, only the disk's passes on what is notified on
 * virtio-mmio, and the ones for input and gpu do not start.
 */
const FRONT_ENDS: Readonly<Record<string, readonly [mmio: string, pci: string]>> = {
  blk: ["vhost-user-blk", "vhost-user-blk-pci"],
  rng: ["", "vhost-user-rng-pci"],
  scsi: ["", "vhost-user-scsi-pci"],
  vsock: ["", "vhost-user-vsock-pci"],
  net: ["", "virtio-net-pci"],
};
const BOARDS = ["qtest:x86_64-microvm", "qtest:x86_64-q35"] as const;

/** A board of QEMU that has a served device in place of its own. */
function board(
  target: typeof BOARDS[number],
  name: string,
  path: string,
  properties = "",
): Partial<BoardOptions> | undefined {
  const device = FRONT_ENDS[name]![target === BOARDS[0] ? 0 : 1];
  if (device === "") return undefined;
  const socket = ["-chardev", `socket,id=vu0,path=${path}`];
  const net = name === "net";
  const back = net ? `netdev=n0${NO_VECTORS}` : "chardev=vu0";
  return {
    target,
    blk: [],
    net: { kind: "none" },
    qemuArgs: net ? [...socket, "-netdev", "vhost-user,id=n0,chardev=vu0"] : socket,
    devices: [`${device},${back}${properties}`],
  };
}

/** What front ends and drivers did wrong. */
function wrongs({ events }: Served): unknown[] {
  return events.filter((event) =>
    event.kind === "refused" || event.kind === "violation" ||
    event.kind === "disconnected" && event.reason !== undefined
  );
}

for (const name of Object.keys(FRONT_ENDS)) {
  Deno.test(`vhost-user: QEMU is the front end of our ${name}`, async (t) => {
    await using served = await Served.start(name);
    for (const target of BOARDS) {
      // A second machine finds the device as the first one did.
      for (const round of ["first", "second"]) {
        const options = board(target, name, served.path);
        if (options === undefined) continue;
        await t.step(`${target}, ${round} machine`, async () => {
          {
            await using vireo = await openVireo(options);
            assertEquals(vireo.bus.slotErrors, []);
            for (const device of vireo.bus.devices) assertEquals(device.error, undefined);
            await DEVICES[name]!(vireo, served);
            assert(await served.regions() >= 1);
          }
          await wait(
            "the machine to leave",
            () => served.events.at(-1)?.kind === "disconnected",
          );
          assertEquals(wrongs(served), []);
        });
      }
    }
  });
}

for (const name of ["blk", "net"]) {
  Deno.test(`vhost-user: QEMU is the front end of our ${name}, with packed rings`, async () => {
    await using served = await Served.start(name, { offer: { packed: true } });
    const options = board("qtest:x86_64-q35", name, served.path, ",packed=on")!;
    await using vireo = await openVireo(options);
    assert(vireo.bus.devices.some((device) => device.has(Feature.RING_PACKED)));
    await DEVICES[name]!(vireo, served);
    assertEquals(wrongs(served), []);
  });
}

Deno.test("vhost-user: QEMU uses as many pairs of our net as its driver asks for", async () => {
  await using served = await Served.start("net", { pairs: 3 });
  {
    await using vireo = await openVireo({
      target: "qtest:x86_64-q35",
      blk: [],
      net: { kind: "none" },
      qemuArgs: [
        ...["-chardev", `socket,id=vu0,path=${served.path}`],
        ...["-netdev", "vhost-user,id=n0,chardev=vu0,queues=3"],
      ],
      devices: [`virtio-net-pci,netdev=n0,mq=on${NO_VECTORS}`],
    });
    await checkPairs(vireo, served);
  }
  await wait("the machine to leave", () => served.events.at(-1)?.kind === "disconnected");
  assertEquals(wrongs(served), []);
});

Deno.test("vhost-user: what QEMU accepts without an offer is honoured, and reported", async () => {
  const options: ServedOptions = { offer: { eventIdx: false, indirect: false } };
  await using served = await Served.start("rng", options);
  {
    await using vireo = await openVireo(board("qtest:x86_64-q35", "rng", served.path)!);
    await DEVICES["rng"]!(vireo, served);
  }
  await wait("the machine to leave", () => served.events.at(-1)?.kind === "disconnected");
  const reasons = wrongs(served).map((event) =>
    (event as { violation?: { reason: string } }).violation?.reason
  );
  assertEquals(
    reasons,
    isNewer("FRONT_END_BITS") ? [] : ["bits that are not offered: 28,29"],
  );
});

Deno.test("vhost-user: a resized disk reaches a driver behind QEMU", async () => {
  await using served = await Served.start("blk");
  await using vireo = await openVireo(board("qtest:x86_64-q35", "blk", served.path)!);
  const { blk } = vireo;
  const { capacity } = blk;
  await served.call("resize", capacity / 512 / 4);
  await wait("the capacity to shrink", () => blk.capacity === capacity / 4);
  await blk.read(0, 512, { deadline });
});

Deno.test("vhost-user: a machine that is reset finds the device as at first", async () => {
  await using served = await Served.start("blk");
  await using vireo = await openVireo(board("qtest:x86_64-microvm", "blk", served.path)!);
  for (let i = 0; i < 3; i++) {
    await vireo.bus.recover(vireo.bus.devices.find(({ deviceId }) => deviceId === 2)!);
    await DEVICES["blk"]!(vireo, served);
  }
  assertEquals(wrongs(served), []);
});

Deno.test("vhost-user: a machine that is paused and goes on keeps its disk", async () => {
  await using served = await Served.start("blk");
  await using vireo = await openVireo(board("qtest:x86_64-q35", "blk", served.path)!);
  for (let i = 0; i < 3; i++) {
    await DEVICES["blk"]!(vireo, served);
    await vireo.qmp!.execute("stop");
    await vireo.qmp!.execute("cont");
  }
  await DEVICES["blk"]!(vireo, served);
  assertEquals(wrongs(served), []);
});

Deno.test("vhost-user: a QEMU board has served devices in place of its own", async () => {
  const names = ["blk", "net", "rng", "scsi", "vsock"];
  await using vireo = await openVireo({ target: "qtest:x86_64-q35", served: names });
  assertEquals(vireo.bus.slotErrors, []);
  assertEquals(vireo.bus.devices.map(({ error }) => error).filter(Boolean), []);
  assertEquals(vireo.bus.devices.map(({ deviceId }) => deviceId).sort((a, b) => a - b), [
    1,
    2,
    3,
    4,
    8,
    19,
  ]);
  const { net, blk } = vireo;
  // QEMU's own disk has no name of ours.
  assertEquals(await blk.getId({ deadline }), "vireo-emu");
  assertEquals([...net.mac], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
  for (const name of names) await DEVICES[name]!(vireo, NOBODY);
});

Deno.test("vhost-user: a board of virtio-mmio has each disk served, with packed rings", async () => {
  await using folder = temporaryFolder();
  const paths = ["a", "b"].map((name) => `${folder.path}/${name}.img`);
  for (const [i, path] of paths.entries()) {
    await Deno.writeFile(path, new Uint8Array((i + 1) * 65536).fill(i + 1));
  }
  const blk = paths.map((path) => ({ path }));
  await using vireo = await openVireo({
    target: "qtest:x86_64-microvm",
    served: ["blk"],
    packed: true,
    blk,
  });
  const disks = vireo.bus.all(blkDriver);
  const sizes = disks.map(({ capacity }) => capacity).sort((a, b) => a - b);
  assertEquals(sizes, [65536, 131072]);
  for (const device of vireo.bus.devices.filter(({ deviceId }) => deviceId === 2)) {
    assert(device.has(Feature.RING_PACKED));
  }
  for (const disk of disks) {
    const fill = disk.capacity / 65536;
    assertEquals(await disk.read(0, 512, { deadline }), new Uint8Array(512).fill(fill));
    await disk.write(1, new Uint8Array(512).fill(fill + 7), { deadline });
    await disk.flush({ deadline });
  }
  for (const [i, path] of paths.entries()) {
    const bytes = await Deno.readFile(path);
    assertEquals([bytes[0], bytes[512], bytes[1023], bytes[1024]], [i + 1, i + 8, i + 8, i + 1]);
  }
});

Deno.test("vhost-user: devices that a board cannot have served are refused", async () => {
  const q35 = "qtest:x86_64-q35";
  const refused: readonly (readonly [Partial<BoardOptions>, string])[] = [
    [{ target: "emu", served: ["blk"] }, "it is for qtest and qemu targets"],
    [{ target: "qtest:x86_64-microvm", served: ["blk", "rng"] }, "a front end for rng on PCI only"],
    [{ target: q35, served: ["blk"], legacy: true }, "the modern interface only"],
    [{ target: q35, served: ["blk"], transitional: true }, "the modern interface only"],
    [{ target: q35, served: ["gpu"] }, "gpu"],
    [{ target: q35, served: ["net"], net: { kind: "user" } }, "expected --net tap:NAME"],
    [{ target: q35, served: ["blk"], blk: [] }, "expected a disk"],
    [{ target: q35, served: ["blk"], blk: [{ ...NO_DISK, path: "/none" }] }, "Cannot open"],
  ];
  for (const [options, message] of refused) {
    await assertRejects(() => openVireo(options), Error, message);
  }
});
