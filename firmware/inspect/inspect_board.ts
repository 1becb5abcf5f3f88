import type { Bus } from "@vireo/drivers";
import type { RingInspection } from "@vireo/drivers/core";
import { deviceName, VireoError } from "@vireo/hal";
import type { Qmp } from "@vireo/hal/qtest";

/** What QEMU says of a queue (`x-query-virtio-queue-status`). */
export interface QemuQueue {
  /** Path of the device in QEMU. */
  readonly path: string;
  /** Its size, and where its parts are. */
  readonly size: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** Buffers that the device has taken and not returned. */
  readonly inUse: number;
  /** The available index as the device last read it, and how far it has taken buffers. */
  readonly availableSeen: number;
  readonly taken: number;
  /** The used index. */
  readonly used: number;
  /** The descriptors of the buffer that it takes next (`x-query-virtio-queue-element`); null if it cannot say. */
  readonly next: QemuElement | null;
}

/** A buffer, as QEMU sees it. */
export interface QemuElement {
  /** Its head. */
  readonly index: number;
  readonly descriptors: readonly {
    readonly address: number;
    readonly length: number;
    readonly flags: readonly string[];
  }[];
}

/** A queue, from both sides. */
export interface QueueInspection extends RingInspection {
  /** QEMU's view of it; null on other targets. */
  readonly qemu: QemuQueue | null;
  /** Where QEMU's view differs from ours. */
  readonly differences: readonly string[];
}

/** The rings of a device. */
export interface DeviceInspection {
  /** `virtio<n>`. */
  readonly name: string;
  /** Short name of the device type. */
  readonly type: string;
  /** Its queues. */
  readonly queues: readonly QueueInspection[];
}

/** What is in the rings of a board at this moment. */
export async function inspectBoard(
  { bus, qmp }: { readonly bus: Bus; readonly qmp: Qmp | undefined },
): Promise<DeviceInspection[]> {
  const paths = qmp === undefined ? [] : await qemuPaths(qmp);
  const found: DeviceInspection[] = [];
  for (const { name, deviceId, queues } of bus.devices) {
    const inspected: QueueInspection[] = [];
    for (const queue of queues) {
      const ring = queue.inspect?.();
      if (ring === undefined) continue;
      const qemu = qmp === undefined ? null : await qemuQueue(qmp, paths, ring);
      // QEMU went on meanwhile: what it says is compared with what is there after it.
      const now = qemu === null ? ring : queue.inspect!();
      inspected.push({ ...now, qemu, differences: qemu === null ? [] : differences(now, qemu) });
    }
    found.push({ name, type: deviceName(deviceId), queues: inspected });
  }
  return found;
}

async function qemuPaths(qmp: Qmp): Promise<string[]> {
  const devices = await ask(qmp, "x-query-virtio", {}) as readonly { path: string }[] | null;
  return (devices ?? []).map(({ path }) => path);
}

/** The answer to a command; null if this QEMU lacks it, or the device has none. */
async function ask(
  qmp: Qmp,
  command: string,
  args: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  try {
    return await qmp.execute(command, args);
  } catch (error) {
    if (error instanceof VireoError) return null;
    throw error;
  }
}

/** QEMU's view of the queue whose descriptors are where ours are. */
async function qemuQueue(
  qmp: Qmp,
  paths: readonly string[],
  { queue, addresses, format, shadow }: RingInspection,
): Promise<QemuQueue | null> {
  for (const path of paths) {
    const status = await ask(qmp, "x-query-virtio-queue-status", { path, queue });
    if (status === null) continue;
    const number = (key: string): number => Number((status as Record<string, unknown>)[key]);
    if (number("vring-desc") !== addresses.desc) continue;
    // Without a buffer that is available it shows a descriptor of before.
    const none = format === "split" && number("last-avail-idx") === shadow.kicked;
    const element = none ? null : await ask(qmp, "x-query-virtio-queue-element", { path, queue });
    return {
      path,
      size: number("vring-num"),
      desc: number("vring-desc"),
      driver: number("vring-avail"),
      device: number("vring-used"),
      inUse: number("inuse"),
      availableSeen: number("shadow-avail-idx"),
      taken: number("last-avail-idx"),
      used: number("used-idx"),
      next: elementOf(element),
    };
  }
  return null;
}

function elementOf(element: unknown): QemuElement | null {
  if (element === null) return null;
  const { index, descs } = element as {
    index: number;
    descs: readonly { addr: number; len: number; flags: readonly string[] }[];
  };
  const descriptors = descs.map(({ addr, len, flags }) => {
    return { address: addr, length: len, flags: flags.map((flag) => flag.toUpperCase()) };
  });
  return { index, descriptors };
}

function differences(ring: RingInspection, qemu: QemuQueue): string[] {
  const { addresses, memory, format, shadow } = ring;
  const wrong: string[] = [];
  const compare = (what: string, ours: number, theirs: number): void => {
    if (ours !== theirs) wrong.push(`${what}: ${ours} here, ${theirs} in QEMU`);
  };
  compare("size", addresses.size, qemu.size);
  compare("address of the driver area", addresses.driver, qemu.driver);
  compare("address of the device area", addresses.device, qemu.device);
  // QEMU counts places of packed rings in another way.
  if (format === "packed") return wrong;
  compare("used index", memory.used!, qemu.used);
  const ahead = shadow.kicked - qemu.taken & 0xffff;
  if (ahead > addresses.size) wrong.push(`QEMU took ${-(ahead - 0x10000)} buffers too many`);
  compare(
    "available buffers",
    ring.inFlight - unkicked(ring) - memory.entries.length,
    ahead + qemu.inUse,
  );
  const buffer = ring.buffers.find(({ id }) => id === qemu.next?.index);
  if (ahead > 0 && qemu.next !== null && buffer !== undefined) {
    const ours = buffer.descriptors.map(({ address, length }) => `${address}+${length}`).join();
    const theirs = qemu.next.descriptors.map(({ address, length }) => `${address}+${length}`)
      .join();
    if (ours !== theirs) wrong.push(`next buffer ${buffer.id}: ${ours} here, ${theirs} in QEMU`);
  }
  return wrong;
}

function unkicked({ shadow }: RingInspection): number {
  return shadow.added - shadow.kicked & 0xffff;
}
