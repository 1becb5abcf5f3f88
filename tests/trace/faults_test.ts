// Ten mistakes of a driver, each found from the trace alone; docs/tracing.md shows the lines.
import { assert, assertEquals } from "@std/assert";
import { Bus } from "@vireo/drivers";
import { SgList, type VirtioDevice, type Virtqueue } from "@vireo/drivers/core";
import { Tracer } from "@vireo/drivers/trace";
import { BlkDevice, type DeviceModel, EmulatedMachine, MemoryDisk, RngDevice } from "@vireo/emu";
import { traceLine } from "@vireo/firmware/trace";
import { ANY_ID, type DmaRegion, FeatureSet } from "@vireo/hal";
import { turn } from "../turn.ts";

/** The work of a faulty driver with its device and queue; `memory` has two pages. */
type Fault = (device: VirtioDevice, queue: Virtqueue, memory: DmaRegion) => void | Promise<void>;

/** Runs a faulty driver and returns the lines of its ring and requests, without times. */
async function traceOf(model: DeviceModel, fault: Fault): Promise<string[]> {
  const lines: string[] = [];
  const tracer = new Tracer((event) => {
    lines.push(traceLine(event).replace(/^\S+ /, "").replace(/, after [\d.]+ ms/, ""));
  }, { groups: ["ring", "request"] });
  const machine = EmulatedMachine.create({ devices: [{ model }] });
  await using bus = new Bus({ tracer });
  let memory: DmaRegion | undefined;
  await bus.registerDriver({
    name: "faulty",
    ids: [{ device: model.deviceId, vendor: ANY_ID }],
    features: FeatureSet.NONE,
    probe: (device) => {
      const region = memory = device.dma.alloc(8192, { align: 4096 });
      device.findQueues([{ name: "requests", callback: (queue) => pop(queue) }]);
      device.ready();
      return {
        remove: async () => {
          await device.reset();
          device.deleteQueues();
          region[Symbol.dispose]();
        },
      };
    },
  });
  const [device] = await bus.addPlatform(machine);
  await fault(device!, device!.queues[0]!, memory!);
  await turn();
  return [...lines];
}

function pop(queue: Virtqueue): void {
  do while (queue.pop() >= 0); while (!queue.enableCallbacks() && queue.broken === undefined);
}

function rng(): DeviceModel {
  return new RngDevice({ random: (into) => into.fill(7) });
}

function disk(): DeviceModel {
  return new BlkDevice({ disk: new MemoryDisk(64 * 512) });
}

/** A block request of 512 bytes, as a driver writes it by hand. */
function request(memory: DmaRegion, type: number, sector: number, data = 512): SgList {
  const view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  const { address } = memory;
  return new SgList(3).addReadable(address, 16).addWritable(address + 4096, data)
    .addWritable(address + 16, 1);
}

const READ = 0;
const FLUSH = 4;
const [ADD, KICK] = ["'requests' add 0", "'requests' kick of 1 buffer, notified"];

interface Case {
  readonly model: () => DeviceModel;
  readonly fault: Fault;
  /** Parts of lines that the trace has. */
  readonly says: readonly string[];
  /** Parts of lines that it would have if the driver were right. */
  readonly lacks?: readonly string[];
}

const FAULTS: Readonly<Record<string, Case>> = {
  "forgets to kick": {
    model: rng,
    fault: (_, queue, { address }) => void queue.add(new SgList(1).addWritable(address, 64), 0),
    says: [ADD],
    lacks: ["kick of", "used 0"],
  },
  "asks for what was not negotiated": {
    model: disk,
    fault: (_, queue, memory) => {
      queue.add(request(memory, FLUSH, 0), 0);
      queue.kick();
    },
    says: ["driver accepts INDIRECT_DESC EVENT_IDX VERSION_1 RING_RESET", "blk FLUSH", "UNSUPP"],
  },
  "gives the device nothing to write": {
    model: rng,
    fault: (_, queue, { address }) => {
      queue.add(new SgList(1).addReadable(address, 64), 0);
      queue.kick();
    },
    says: ["add 0 [r 0x40000000+64]: rng 0 bytes", "violation: The driver erred: entropy request"],
  },
  "names an address that is no memory": {
    model: rng,
    fault: (_, queue) => {
      queue.add(new SgList(1).addWritable(0x10, 64), 0);
      queue.kick();
    },
    says: [
      "[w 0x10+64]",
      "violation: The driver erred: queue 0, descriptor 0: element at 0x10, 64 bytes, is outside",
    ],
  },
  "lends a buffer that the device still has": {
    model: rng,
    fault: (_, queue, { address }) => {
      queue.add(new SgList(1).addWritable(address, 64), 0);
      queue.add(new SgList(1).addWritable(address, 64), 1);
    },
    says: ["add 0 [w 0x40000000+64]", "add 1 [w 0x40000000+64]"],
    lacks: ["used"],
  },
  "turns callbacks off and never looks": {
    model: rng,
    fault: (_, queue, { address }) => {
      queue.disableCallbacks();
      queue.add(new SgList(1).addWritable(address, 64), 0);
      queue.kick();
    },
    says: [ADD, KICK],
    lacks: ["interrupt", "used 0"],
  },
  "reads past the end of the disk": {
    model: disk,
    fault: (_, queue, memory) => {
      queue.add(request(memory, READ, 64), 0);
      queue.kick();
    },
    says: ["blk READ sector 64 1 sectors", "blk READ sector 64 1 sectors: IOERR"],
  },
  "asks for part of a sector": {
    model: disk,
    fault: (_, queue, memory) => {
      queue.add(request(memory, READ, 0, 100), 0);
      queue.kick();
    },
    says: ["blk READ sector 0 0.1953125 sectors: IOERR"],
  },
  "has a wrong type of request": {
    model: disk,
    fault: (_, queue, memory) => {
      queue.add(request(memory, 99, 0), 0);
      queue.kick();
    },
    says: ["blk type 99: UNSUPP"],
  },
  "kicks for each buffer": {
    model: rng,
    fault: (_, queue, { address }) => {
      for (const token of [0, 1, 2]) {
        queue.add(new SgList(1).addWritable(address + 64 * token, 64), token);
        queue.kick();
      }
    },
    says: [KICK, KICK, KICK],
  },
};

for (const [name, { model, fault, says, lacks = [] }] of Object.entries(FAULTS)) {
  Deno.test(`trace: it shows a driver that ${name}`, async () => {
    const lines = await traceOf(model(), fault);
    let at = -1;
    for (const part of says) {
      const next = lines.findIndex((line, i) => i > at && line.includes(part));
      assert(next > at, `no '${part}' after line ${at} of\n${lines.join("\n")}`);
      at = next;
    }
    const found = lacks.filter((part) => lines.some((line) => line.includes(part)));
    assertEquals(found, [], lines.join("\n"));
  });
}

/** The table of docs/tracing.md: by fault, the parts that it shows, and those that it says are not there. */
async function documented(): Promise<Record<string, { shows: string[]; lacks: string[] }>> {
  const page = await Deno.readTextFile(new URL("../../docs/tracing.md", import.meta.url));
  const rows: Record<string, { shows: string[]; lacks: string[] }> = {};
  const [, table] = page.split("| a driver that ... | shows |\n|---|---|\n");
  for (const [, name, cell] of table!.matchAll(/^\| (.*?) \| (.*) \|$/gm)) {
    const row = rows[name!] = { shows: [] as string[], lacks: [] as string[] };
    for (const [, before, part] of cell!.matchAll(/([^`]*)`([^`]*)`/g)) {
      row[/\b(no|neither|nor|without a|where) $/.test(before!) ? "lacks" : "shows"].push(part!);
    }
  }
  return rows;
}

Deno.test("trace: the lines that docs/tracing.md shows of the ten faults are those of their traces", async () => {
  const rows = await documented();
  assertEquals(Object.keys(rows).toSorted(), Object.keys(FAULTS).toSorted());
  for (const [name, { shows, lacks }] of Object.entries(rows)) {
    const { model, fault } = FAULTS[name]!;
    const lines = await traceOf(model(), fault);
    let at = -1;
    for (const part of shows) {
      const next = lines.findIndex((line, i) => i > at && line.includes(part));
      assert(next > at, `${name}: no '${part}' after line ${at} of\n${lines.join("\n")}`);
      at = next;
    }
    const found = lacks.filter((part) => lines.some((line) => line.includes(part)));
    assertEquals([name, found], [name, []], lines.join("\n"));
  }
});
