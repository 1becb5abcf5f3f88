import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Bus, rngDriver } from "@vireo/drivers";
import { Tracer } from "@vireo/drivers/trace";
import { EmulatedMachine, RngDevice } from "@vireo/emu";
import { openVireo } from "@vireo/firmware";
import { traceLine } from "@vireo/firmware/trace";
import type { TraceEvent } from "@vireo/hal";
import { PackedVirtqueue } from "../../drivers/virtqueue/packed.ts";
import { SplitVirtqueue } from "../../drivers/virtqueue/split.ts";
import { call, vireo } from "../cli_helper.ts";
import { openTshark } from "./tshark.ts";
import { TempFolder } from "../temp_folder.ts";

/** A line without its time and what differs from run to run. */
function plain(line: string): string {
  return line.replace(/^\S+ /, "").replace(/, after [\d.]+ ms/, "");
}

function lines(events: readonly TraceEvent[]): string[] {
  return events.map((event) => plain(traceLine(event)));
}

/** The life of an rng, up to its first bytes. */
const RNG = [
  "virtio-mmio@a000000 MagicValue -> 0x74726976",
  "virtio-mmio@a000000 Version -> 2",
  "virtio-mmio@a000000 DeviceID -> 4",
  "virtio0 reset",
  "virtio0 device status <- ACKNOWLEDGE",
  "virtio0 Status <- 0x3 ACKNOWLEDGE|DRIVER",
  "virtio0 rng offers INDIRECT_DESC EVENT_IDX VERSION_1 RING_RESET",
  "virtio0 driver accepts INDIRECT_DESC EVENT_IDX VERSION_1 RING_RESET",
  "virtio0 DriverFeatures <- 0x30000000",
  "virtio0 device status <- ACKNOWLEDGE|DRIVER|FEATURES_OK",
  "virtio0 queue 0 set up: 64 descriptors at 0x40000000, driver area 0x40000400, device area 0x40000488",
  "virtio0 QueueSize <- 64",
  "virtio0 QueueReady <- 1",
  "virtio0 device status <- ACKNOWLEDGE|DRIVER|DRIVER_OK|FEATURES_OK",
  "virtio0 'input' kick of 1 buffer, notified",
  "virtio0 QueueNotify <- 0",
];

Deno.test("trace: the life of an rng, register by register, in order", async () => {
  const events: TraceEvent[] = [];
  const tracer = new Tracer((event) => events.push(event));
  const machine = EmulatedMachine.create({
    devices: [{ model: new RngDevice({ random: (into) => into.fill(7) }) }],
  });
  await using bus = new Bus({ tracer });
  await bus.registerDriver(rngDriver);
  await bus.addPlatform(machine);
  await bus.get(rngDriver)!.read(16);
  const text = lines(events);
  let at = -1;
  for (const line of RNG) {
    const next = text.indexOf(line, at + 1);
    assert(next > at, `'${line}' after line ${at} of\n${text.join("\n")}`);
    at = next;
  }
  const add = events.find(({ kind }) => kind === "add");
  const used = events.find(({ kind }) => kind === "used");
  assert(add?.kind === "add" && used?.kind === "used");
  assertEquals([add.request, used.request, used.length], [
    "rng 16 bytes",
    "rng gave 16 bytes",
    16,
  ]);
  assertEquals(add.elements.map(({ length, writable }) => [length, writable]), [[16, true]]);
  assertEquals([add.data, used.data], [undefined, undefined]);
});

Deno.test("trace: a bus without a tracer has the rings and transports of always", async () => {
  for (const packed of [false, true]) {
    const machine = EmulatedMachine.create({
      devices: [{ model: new RngDevice({ random: (into) => into.fill(7) }) }],
      ring: { packed },
    });
    await using bus = new Bus();
    await bus.registerDriver(rngDriver);
    const [device] = await bus.addPlatform(machine);
    assert(device!.queues[0] instanceof (packed ? PackedVirtqueue : SplitVirtqueue));
  }
});

Deno.test("trace: groups, devices and data choose what is told", async () => {
  const events: TraceEvent[] = [];
  const trace = (event: TraceEvent): void => void events.push(event);
  {
    await using board = await openVireo({
      trace: ["request"],
      traceDevices: ["virtio1"],
      traceData: 4,
    }, { trace });
    await board.blk.read(0, 512);
    await board.rng.read(8);
  }
  assertEquals(events.map(({ kind, device }) => `${device} ${kind}`), [
    "virtio1 add",
    "virtio1 used",
  ]);
  const [add, used] = events;
  assert(add?.kind === "add" && used?.kind === "used");
  assertEquals(add.request, "blk READ sector 0 1 sectors");
  assertEquals(used.request, "blk READ sector 0 1 sectors: OK");
  assertEquals([add.data?.length, used.data?.length], [4, 4]);
});

/** A command for each class of devices, and what its trace must say. */
const WORDS = [
  ["blk write --sector 3 --flush", ["blk WRITE sector 3 1 sectors: OK", "blk FLUSH: OK"]],
  ["console --quiet 50", [
    "console PORT_NAME port 2 value 1 'host'",
    "console PORT_OPEN port 0 value 1",
  ]],
  ["scsi list", ["scsi REPORT_LUNS lun 0:0: OK, GOOD", "scsi INQUIRY lun 0:0: OK, GOOD"]],
  ["9p ls", [
    "9p Tversion tag 65535 msize 262168 '9P2000.L'",
    "9p Rattach tag 0",
    "9p Twalk tag 0 fid 1 to fid 2 'hello.txt'",
  ]],
  ["gpu info", [
    "gpu GET_DISPLAY_INFO fence 1: OK_DISPLAY_INFO",
    "gpu GET_EDID scanout 0 fence 2: OK_EDID",
  ]],
  ["balloon inflate 1M", ["balloon inflate 256 pages"]],
  ["rng 8", ["rng 8 bytes", "rng gave 8 bytes"]],
] as const;

Deno.test("trace: requests of the classes are told in the device's words", async () => {
  for (const [command, wanted] of WORDS) {
    const { code, err } = await call(`${command} --trace=request`, new Uint8Array(512));
    assertEquals([command, code], [command, 0], err);
    for (const words of wanted) {
      const found = err.split("\n").some((line) => line.endsWith(`: ${words}`));
      assert(found, `${command}: no '${words}' in\n${err}`);
    }
  }
});

Deno.test("trace: an interrupt is told with its cause", async () => {
  // A port's name comes when nobody has just kicked.
  const { code, err } = await call("console --quiet 50 --trace=ring");
  assertEquals(code, 0, err);
  assert(err.split("\n").some((line) => line.endsWith(" interrupt: used buffer")), err);
});

Deno.test("trace: a driver that does not kick, and one whose buffer is nowhere, are seen", async () => {
  const events: TraceEvent[] = [];
  const machine = EmulatedMachine.create({
    devices: [{ model: new RngDevice({ random: (into) => into.fill(7) }) }],
  });
  await using bus = new Bus({ tracer: new Tracer((event) => events.push(event)) });
  await bus.registerDriver({
    name: "forgets",
    ids: rngDriver.ids,
    features: rngDriver.features,
    probe: (device) => {
      device.findQueues([{ name: "input" }]);
      device.ready();
      return {
        remove: async () => {
          await device.reset();
          device.deleteQueues();
        },
      };
    },
  });
  const [device] = await bus.addPlatform(machine);
  const queue = device!.queues[0]!;
  const { SgList } = await import("@vireo/drivers/core");
  queue.add(new SgList(1).addWritable(0x10, 64), 7);
  assertEquals(lines(events.slice(-1)), ["virtio0 'input' add 7 [w 0x10+64]: rng 64 bytes"]);
  queue.kick();
  const tail = lines(events);
  assert(tail.includes("virtio0 'input' kick of 1 buffer, notified"), tail.join("\n"));
  assertEquals(
    tail.find((line) => line.includes("violation")),
    "virtio0 violation: The driver erred: queue 0, descriptor 0: element at 0x10, 64 bytes, is " +
      "outside guest memory (virtio 1.4 §2.7.5) (virtio-mmio@a000000)",
  );
});

Deno.test("trace: on QEMU and PCI the same requests and registers by name", async () => {
  for (const target of ["emu --transport pci", "qtest:aarch64-virt", "qtest:x86_64-q35"]) {
    const args = "blk read --count 8 --hash --trace";
    const { code, err } = await call(`${args} --target ${target}`);
    assertEquals([target, code], [target, 0]);
    const name = / (virtio\d) .*block offers/.exec(err)![1]!;
    const text = err.trim().split("\n").map(plain);
    const pci = target !== "qtest:aarch64-virt";
    const status = pci ? "device_status" : "Status";
    for (
      const wanted of [
        `${name} ${status} <- 0xb ACKNOWLEDGE|DRIVER|FEATURES_OK`,
        `${name} ${pci ? "queue_enable" : "QueueReady"} <- 1`,
        `${name} 'req.0' kick of 1 buffer, notified`,
        `${name} 'req.0' used 0, 4097 bytes written: blk READ sector 0 8 sectors: OK`,
      ]
    ) {
      assert(text.includes(wanted), `${target}: no '${wanted}' in\n${err}`);
    }
  }
});

Deno.test("trace: tshark reads the pcapng file: frames, comments and our own lines", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const file = `${dir}/trace.pcapng`;
  const ping = "net ping 10.0.2.2 --count 2 --target qtest:aarch64-virt";
  const { code } = await call(`${ping} --trace-file ${file}`);
  assertEquals(code, 0);
  const tshark = await openTshark(dir, file);
  const echoes = await tshark("-Y", "icmp", "-T", "fields", "-e", "icmp.type", "-e", "ip.dst");
  assertEquals(echoes, ["8\t10.0.2.2", "0\t10.0.2.15", "8\t10.0.2.2", "0\t10.0.2.15"]);
  const arp = await tshark("-Y", "arp", "-T", "fields", "-e", "frame.interface_name");
  assertEquals(new Set(arp), new Set(["virtio3"]));
  const comments = await tshark("-Y", "icmp.type == 8", "-T", "fields", "-e", "frame.comment");
  assertStringIncludes(comments[0]!, "net ICMP echo request 10.0.2.15 > 10.0.2.2 sequence 0");
  const own = await tshark(
    "-Y",
    'vireo.device == "virtio3"',
    "-T",
    "fields",
    "-e",
    "vireo.event",
  );
  assert(
    own.includes("device status <- ACKNOWLEDGE|DRIVER|DRIVER_OK|FEATURES_OK"),
    own.join("\n"),
  );
});

Deno.test("trace: tshark reads what all 14 classes of devices do", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const file = `${dir}/trace.pcapng`;
  await Deno.writeFile(`${dir}/disk.img`, new Uint8Array(1 << 20));
  const devices = [
    "balloon",
    "rpmsg",
    `scsi=${dir}/disk.img`,
    `9p=${dir}`,
    "rproc-serial",
    "caif",
  ];
  devices.push("gpu=64x64", "input=keyboard", `vsock=${dir}/socket`, "crypto");
  const { code, out } = await vireo(
    `probe --json ${devices.map((device) => `--with ${device}`).join(" ")} --trace-file ${file}`,
  );
  assertEquals(code, 0);
  const probed: { devices: { name: string; id: number }[] } = JSON.parse(out);
  assertEquals(new Set(probed.devices.map(({ id }) => id)).size, 14);
  const tshark = await openTshark(dir, file);
  const fields = ["frame.protocols", "vireo.device", "vireo.event", "_ws.malformed"];
  const rows = (await tshark("-T", "fields", ...fields.flatMap((field) => ["-e", field])))
    .map((line) => line.split("\t"));
  const ready = rows.filter(([, , event]) =>
    event === "device status <- ACKNOWLEDGE|DRIVER|DRIVER_OK|FEATURES_OK"
  );
  assertEquals(
    ready.map(([, name]) => name).toSorted(),
    probed.devices.map(({ name }) => name).toSorted(),
  );
  for (const [protocols, name, event, malformed = ""] of rows) {
    assertEquals(malformed, "");
    if (protocols === "vireo") assert(name !== "" && event !== "");
    else assertMatch(protocols!, /^(eth:|sll|vsock)/);
  }
});

Deno.test("trace: tshark reads packets of sockets, whose words are there only if asked for", async () => {
  const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: ".pcapng" });
  try {
    const fields = [
      "vsock.src_cid",
      "vsock.dst_cid",
      "vsock.dst_port",
      "vsock.op",
      "frame.cap_len",
    ];
    const args = fields.flatMap((field) => ["-e", field]);
    for (const [data, length] of [[0, 76], [3, 79]] as const) {
      const send = `vsock send 7 hello --trace-file ${file} --trace-data ${data}`;
      assertEquals((await call(send)).code, 0);
      const { stdout } = await new Deno.Command("tshark", {
        args: ["-r", file, "-Y", "vsock", "-T", "fields", ...args],
        stderr: "null",
      }).output();
      const lines = new TextDecoder().decode(stdout).trim().split("\n")
        .map((line) => line.split("\t"));
      assertEquals(lines[0], ["3", "2", "7", "1", "76"]);
      const said = lines.filter(([, , , op]) => op === "4").map((line) => [line[0], line[4]]);
      assertEquals(said, [["3", `${length}`], ["2", `${length}`]]);
    }
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("trace: the timeline is JSON whose slices begin and end", async () => {
  const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: ".json" });
  try {
    const { code } = await call(`blk read --count 64 --hash --trace-file ${file}`);
    assertEquals(code, 0);
    const events: { ph: string; id?: string; ts?: number; name: string; pid: number }[] = JSON
      .parse(await Deno.readTextFile(file));
    const open = new Map<string, string>();
    let slices = 0;
    let last = 0;
    for (const { ph, id, ts, name, pid } of events) {
      assert(pid >= 1);
      if (ts !== undefined) {
        assert(ts >= last);
        last = ts;
      }
      if (ph === "b") open.set(id!, name);
      if (ph !== "e") continue;
      assertEquals(open.get(id!), name);
      open.delete(id!);
      slices++;
    }
    assert(slices > 0);
    const tracks = events.filter(({ ph }) => ph === "M").map(({ name }) => name);
    assert(tracks.includes("process_name") && tracks.includes("thread_name"));
    assert(events.some(({ name }) => name === "blk READ sector 0 64 sectors"));
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("trace: wrong options are refused, and a file that cannot be made is named", async () => {
  const cases: [string, number, string][] = [
    ["rng 1 --trace=reg", 2, "vireo: --trace: expected regs, ring, request, copy, got 'reg'"],
    ["rng 1 --trace-data x", 2, "vireo: --trace-data: expected a number"],
    ["rng 1 --trace-file /none/x", 1, "vireo: Cannot write the trace to /none/x"],
    [
      "blk read --output y --target qemu:aarch64-virt --trace-file x",
      2,
      "vireo: Cannot write y and x: a guest can write one file of the host",
    ],
  ];
  for (const [args, code, message] of cases) {
    const result = await call(args);
    assertEquals([args, result.code, result.out], [args, code, ""]);
    assertStringIncludes(result.err, message);
  }
});
