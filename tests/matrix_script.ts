import { blkDriver, type Bus } from "@vireo/drivers";
import { openVireo, type Vireo } from "@vireo/firmware";
import { ping } from "@vireo/firmware/ip";
import { Feature, FeatureSet } from "@vireo/hal";
import { checkDevices } from "./devices_script.ts";

/**
 * What tests/guest/matrix_test.ts has `vireo run` do in a guest: the four drivers with each ring and each way of
 * waiting, one after the other, as booting is slow. Prints its findings as JSON, a line for each face that it
 * is told to use, then a line of what `devices_script.ts` finds if it is told to run that.
 *
 * Arguments: faces of the devices, `own` or `forceLegacy`, joined by commas; `packed` where devices offer it,
 * else `-`; then, for the other script, its arguments.
 */

/** Serial of the disk that is written here. */
export const SCRATCH = "SCRATCH";

/** Length of an answer to wait for, in milliseconds: a guest may have a small part of a busy machine. */
const DEADLINE = 20_000;
const SECTOR = 512;

/** What one run of the four drivers found. */
export interface MatrixFinding {
  readonly packed: boolean;
  readonly poll: boolean;
  /** Kind of the transport, how interrupts come, and whether the ring is packed; the same of all four. */
  readonly transports: readonly string[];
  readonly policies: readonly string[];
  readonly rings: readonly boolean[];
  /** Whether what was written to the disk came back, and a sector that nobody wrote is zero. */
  readonly blk: readonly boolean[];
  readonly replies: number;
  readonly echo: boolean;
  /** Different values among the bytes of entropy. */
  readonly entropy: number;
}

export default async function main(vireo: Vireo): Promise<void> {
  const [faces = "own", ring, ...devices] = vireo.args;
  // Its machine is opened anew for each way of waiting.
  await vireo[Symbol.asyncDispose]();
  for (const face of faces.split(",")) {
    const findings: MatrixFinding[] = [];
    for (const poll of [false, true]) {
      await using own = await open(poll, face);
      const rings = ring === "packed" && face === "own" ? [true, false] : [false];
      for (const packed of rings) {
        await choose(own.bus, packed);
        findings.push({ packed, poll, ...await check(own, findings.length + 1) });
      }
    }
    console.log(JSON.stringify(findings));
  }
  if (devices.length === 0) return;
  await using own = await open(false, "own");
  await choose(own.bus, false);
  console.log(JSON.stringify(await checkDevices(own, devices.map(Number))));
}

function open(poll: boolean, face: string): Promise<Vireo> {
  return openVireo({ target: "devmem", poll, forceLegacy: face === "forceLegacy" });
}

/** Has the drivers agree on packed rings, or on split ones. */
async function choose(bus: Bus, packed: boolean): Promise<void> {
  bus.filter = packed ? FeatureSet.NONE : FeatureSet.of(Feature.RING_PACKED);
  const drivers = [...bus.drivers];
  for (const driver of drivers) await bus.unregisterDriver(driver);
  for (const driver of drivers) await bus.registerDriver(driver);
}

async function check(
  vireo: Vireo,
  seed: number,
): Promise<Omit<MatrixFinding, "packed" | "poll">> {
  const { bus, net, rng } = vireo;
  const disks = bus.all(blkDriver);
  const serials = await Promise.all(disks.map((disk) => disk.getId()));
  const blk = disks[serials.indexOf(SCRATCH)]!;
  const devices = bus.devices;
  const data = Uint8Array.from({ length: 200_000 - 200_000 % SECTOR }, (_, i) => i * seed >> 3);
  const at = 64 * seed;
  await blk.write(at, data, { deadline: DEADLINE });
  await blk.flush({ deadline: DEADLINE });
  const back = await blk.read(at, data.length, { deadline: DEADLINE });
  const blank = await blk.read(blk.capacity / SECTOR - 1, SECTOR, { deadline: DEADLINE });
  const path = { source: "10.0.2.15", target: "10.0.2.2", deadline: DEADLINE };
  const { replies } = await ping(net, { ...path, count: 3, size: 1000 });
  return {
    transports: [...new Set(devices.map(({ transport }) => transport.kind))],
    policies: [
      ...new Set(devices.map(({ transport }) => {
        return transport.route?.policy ?? (transport.interrupt.polled ? "poll" : "line");
      })),
    ],
    rings: [...new Set(devices.map((device) => device.has(Feature.RING_PACKED)))],
    blk: [back.every((byte, i) => byte === data[i]), blank.every((byte) => byte === 0)],
    replies: replies.length,
    echo: await echo(vireo),
    entropy: new Set(await rng.read(10_000, { deadline: DEADLINE })).size,
  };
}

async function echo({ console }: Vireo): Promise<boolean> {
  using port = (await console.port("echo", { deadline: DEADLINE })).open();
  await port.hostOpened({ deadline: DEADLINE });
  const data = Uint8Array.from({ length: 10_000 }, (_, i) => i * 31 ^ i >> 8);
  const sending = port.write(data, { deadline: DEADLINE });
  for (let at = 0; at < data.length;) {
    const bytes = await port.read({ deadline: DEADLINE });
    if (bytes === null) return false;
    for (const byte of bytes) if (byte !== data[at++]) return false;
  }
  await sending;
  return true;
}
