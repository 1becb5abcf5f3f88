// What a served device tells: vireo serve --trace, and VhostUserServer with a trace.
import { assert, assertEquals } from "@std/assert";
import { Tracer, TraceStats } from "@vireo/drivers/trace";
import { RngDevice } from "@vireo/emu/rng";
import { VhostUserServer } from "@vireo/emu/vhost-user";
import { ping as pingOnce } from "@vireo/firmware/ip";
import { servedTrace, traceText } from "@vireo/firmware/trace";
import { joinBytes, Libc, u32s, u64s } from "@vireo/hal/vhost-user";
import { openVireo } from "../../firmware/session.ts";
import { VIREO } from "../cli_helper.ts";
import { openTshark } from "../trace/tshark.ts";
import { temporaryFolder } from "./daemon.ts";
import { PROTOCOL, R, raw, RawPeer, VERSION_1 } from "./raw_peer.ts";
import { Served } from "./served.ts";
import { wait } from "./wait.ts";

/** Guest address and own address of the peer's memory. */
const [GUEST, USER] = [0x10_0000, 0x7000_0000];
const [AVAIL, USED, DATA] = [0x1000, 0x2000, 0x3000];
const NO_INTERRUPT = 1;
const WRITE = 2;

Deno.test("vhost-user: a trace of a served device tells set-up, buffers, calls and mistakes", async () => {
  await using folder = temporaryFolder();
  const libc = new Libc();
  using _libc = { [Symbol.dispose]: () => libc.dispose() };
  const model = new RngDevice({ random: (into) => void into.fill(0x42) });
  const lines: string[] = [];
  const stats = new TraceStats();
  const tracer = new Tracer((event) => {
    stats.event(event);
    lines.push(traceText(event).replace(/after \S+ ms/, "after T"));
  }, { data: 2 });
  const path = `${folder.path}/s.sock`;
  const trace = servedTrace(tracer, model);
  await using server = new VhostUserServer({ model, path, capacity: 1 << 26, trace });
  {
    using peer = new RawPeer(libc, libc.connect(path));
    /** Sends a request, and returns the lines that it made once there are as many as expected. */
    const told = async (count: number, send: () => void): Promise<string[]> => {
      const from = lines.length;
      send();
      await wait(`${count} lines`, () => lines.length >= from + count);
      return lines.slice(from);
    };
    assertEquals(
      await told(2, () => peer.send(raw(R.GET_PROTOCOL_FEATURES))),
      [
        "front end: connected",
        "front end: GET_PROTOCOL_FEATURES -> MQ REPLY_ACK BACKEND_REQ INFLIGHT_SHMFD RESET_DEVICE " +
        "CONFIGURE_MEM_SLOTS STATUS",
      ],
    );
    const kick = peer.eventFd();
    const region = joinBytes(u32s(1, 0), peer.region());
    const parts = joinBytes(u32s(0, 0), u64s(USER, USER + USED, USER + AVAIL, 0));
    const setUp = await told(11, () => {
      peer.send(raw(R.SET_PROTOCOL_FEATURES, u64s(8)));
      peer.send(raw(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL)));
      peer.send(raw(R.SET_MEM_TABLE, region), [peer.memoryFd]);
      peer.send(raw(R.SET_VRING_NUM, u32s(0, 3)));
      peer.send(raw(R.SET_VRING_NUM, u32s(0, 8)));
      peer.send(raw(R.SET_VRING_BASE, u32s(0, 0)));
      peer.send(raw(R.SET_VRING_ADDR, parts));
      peer.send(raw(R.SET_VRING_KICK, u64s(0)), [kick]);
    });
    assertEquals(setUp, [
      "front end: SET_PROTOCOL_FEATURES REPLY_ACK",
      "front end: SET_FEATURES 0x140000000",
      "driver accepts VERSION_1",
      "front end: SET_MEM_TABLE 1 region, 0x100000+0x100000",
      "front end: SET_VRING_NUM queue 0, 3 descriptors",
      "fault: Refused SET_VRING_NUM: Cannot give a queue this size (queue 0): saw 3, " +
      "expected a power of two up to 1024",
      "front end: SET_VRING_NUM queue 0, 8 descriptors",
      "front end: SET_VRING_BASE queue 0, 0",
      "front end: SET_VRING_ADDR queue 0, in the front end at 0x70000000, 0x70001000 and 0x70002000",
      "front end: SET_VRING_KICK queue 0",
      "queue 0 set up: 8 descriptors at 0x100000, driver area 0x101000, device area 0x102000",
    ]);
    assertEquals(await told(1, () => peer.libc.signalEvent(kick)), [
      "'requestq' notified by the driver, ignored: the front end has not enabled the queue",
    ]);

    let added = 0;
    const add = (address: number): void => {
      const at = 16 * added;
      peer.view.setBigUint64(at, BigInt(address), true);
      peer.view.setUint32(at + 8, 4, true);
      peer.view.setUint16(at + 12, WRITE, true);
      peer.view.setUint16(AVAIL + 4 + 2 * added, added, true);
      peer.view.setUint16(AVAIL + 2, ++added, true);
    };
    const buffer = (token: number): string[] => [
      `'requestq' taken ${token} [w 0x103000+4]: rng 4 bytes`,
      `'requestq' used ${token}, 4 bytes written, after T: rng gave 4 bytes data 4242`,
    ];
    // A queue that is enabled serves what is there; nobody can be called yet.
    add(GUEST + DATA);
    assertEquals(await told(4, () => peer.send(raw(R.SET_VRING_ENABLE, u32s(0, 1)))), [
      "front end: SET_VRING_ENABLE queue 0 on",
      ...buffer(0),
      "'requestq' call for 1 buffer, not sent: the front end gave no descriptor for calls",
    ]);
    await told(1, () => peer.send(raw(R.SET_VRING_CALL, u64s(0)), [peer.eventFd()]));
    add(GUEST + DATA);
    add(GUEST + DATA);
    assertEquals(await told(6, () => peer.libc.signalEvent(kick)), [
      "'requestq' notified by the driver",
      ...buffer(1),
      ...buffer(2),
      "'requestq' call for 2 buffers, sent",
    ]);
    peer.view.setUint16(AVAIL, NO_INTERRUPT, true);
    add(GUEST + DATA);
    assertEquals(
      (await told(4, () => peer.libc.signalEvent(kick))).at(-1),
      [
        "'requestq' call for 1 buffer, not sent: the driver asked for none",
      ].at(0),
    );
    const { queues: [counts], interrupts, withheld } = stats.device("rng")!;
    assertEquals([counts!.kicks, counts!.used, counts!.written, interrupts, withheld], [
      3,
      4,
      16,
      1,
      2,
    ]);
    // Guest memory ends at 0x200000.
    add(0x20_0000);
    assertEquals(await told(4, () => peer.libc.signalEvent(kick)), [
      "'requestq' notified by the driver",
      "violation: The driver erred: queue 0, descriptor 4: element at 0x200000, 4 bytes, is outside guest " +
      "memory (virtio 1.4 §2.7.5)",
      "fault: The device needs a reset",
      "configuration change, not sent: the front end takes no requests of the back end",
    ]);
    assertEquals(await told(2, () => peer.send(raw(R.GET_VRING_BASE, u32s(0, 0)))), [
      "queue 0 taken down",
      "front end: GET_VRING_BASE queue 0 -> 4",
    ]);
  }
  await wait("the front end to be left", () => !server.connected);
  assertEquals(lines.slice(-2), ["reset", "front end: disconnected"]);
});

Deno.test("vhost-user: vireo serve my_device.ts --trace-file tells what its driver's trace tells", async () => {
  await using folder = temporaryFolder();
  const [path, file] = [`${folder.path}/s.sock`, `${folder.path}/my_device.ts`];
  const traceFile = `${folder.path}/device.txt`;
  const module = (name: string): string =>
    JSON.stringify(new URL(`../../emu/${name}/mod.ts`, import.meta.url).href);
  await Deno.writeTextFile(
    file,
    `import { MemoryDisk } from ${module("backends")};\n` +
      `import { BlkDevice } from ${module("devices/blk")};\n` +
      `export default () => new BlkDevice({ disk: new MemoryDisk(1 << 20) });\n`,
  );
  const child = new Deno.Command(VIREO, {
    args: [
      ...["serve", file, "--socket", path, "--once", "--trace=ring,request"],
      ...["--trace-file", traceFile, "--trace-device", "blk", "--trace-device", "none", "--stats"],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const ended = child.output();
  await wait("the socket", () => exists(path));
  const driver: string[] = [];
  {
    await using vireo = await openVireo({ target: `vhost-user:blk=${path}`, trace: ["request"] }, {
      trace: (event) => driver.push(traceText(event)),
    });
    await vireo.blk.write(8, new Uint8Array(1024).fill(1));
    await vireo.blk.read(8, 4096);
  }
  const { code, stderr } = await ended;
  const err = new TextDecoder().decode(stderr).split("\n");
  assertEquals([code, err.filter((line) => line.startsWith("vireo:"))], [
    0,
    ["vireo: --trace-device: there was no 'none', but blk"],
  ], err.join("\n"));
  assert(err.some((line) => /^blk +requestq1 +2 +2 +2 +0 +1056 +4098 /.test(line)), err.join("\n"));
  // The driver may look before it asks for the interrupt.
  const calls = err.map((line) => /^blk: (\d+) interrupts?(?: and (\d+) not sent)?$/.exec(line))
    .find((match) => match !== null);
  const sent = Number(calls?.[1]);
  assertEquals(sent + Number(calls?.[2] ?? 0), 2, err.join("\n"));
  const [version, ...lines] = (await Deno.readTextFile(traceFile)).trimEnd().split("\n");
  assertEquals(version, "# vireo trace 1");
  const device = lines.map((line) => line.replace(/^\S+ blk /, ""));
  // Addresses and requests are those of the driver's own trace, word for word.
  const buffers = (text: readonly string[]): string[] =>
    text.filter((line) => /: blk /.test(line)).map((line) =>
      line.replace(/^'.*?' /, "").replace(/^taken/, "add").replace(/after \S+ ms/, "after T")
    );
  assertEquals(buffers(device), buffers(driver));
  assertEquals(buffers(device).length, 4);
  // Its ring is set up with features by name, and it is started after that.
  const at = (start: string): number => device.findIndex((line) => line.startsWith(start));
  const steps = [
    "block offers SIZE_MAX",
    "driver accepts SIZE_MAX",
    "queue 0 set up: 1024 descriptors",
    "device status <- ACKNOWLEDGE|DRIVER|DRIVER_OK|FEATURES_OK",
    "'requestq1' notified by the driver",
    "'requestq1' taken",
    "'requestq1' used",
    `'requestq1' call for 1 buffer, ${sent > 0 ? "sent" : "not sent"}`,
    "queue 0 taken down",
    "reset",
  ];
  const places = steps.map((step) => step === "reset" ? device.lastIndexOf(step) : at(step));
  assertEquals(places, places.toSorted((a, b) => a - b), device.join("\n"));
  assert(places[0]! >= 0, device.join("\n"));
});

Deno.test("vhost-user: tshark reads what a served network device got and gave", async () => {
  await using folder = temporaryFolder();
  const file = `${folder.path}/net.pcapng`;
  {
    await using served = await Served.start("net", { offer: { packed: true }, traceFile: file });
    await using vireo = await openVireo({ target: `vhost-user:net=${served.path}` });
    await pingOnce(vireo.net, {
      source: "10.0.2.15",
      target: "10.0.2.2",
      count: 1,
      deadline: 10_000,
    });
  }
  const tshark = await openTshark(folder.path, file);
  const fields = [
    "-T",
    "fields",
    "-e",
    "frame.interface_name",
    "-e",
    "frame.packet_flags_direction",
  ];
  const frames = await tshark("-Y", "icmp", ...fields, "-e", "icmp.type", "-e", "frame.comment");
  const ping = (what: string): string => `net ICMP echo ${what} sequence 0`;
  assertEquals(frames.map((line) => line.replaceAll(/\d+ (?=\[)|0x1\w+|after \S+ ms/g, "")), [
    `net\t0x00000002\t8\tnet 'transmitq1' taken [r +110]: ${ping("request 10.0.2.15 > 10.0.2.2")}`,
    `net\t0x00000001\t0\tnet 'receiveq1' used 1, 110 bytes written, : ${
      ping("reply 10.0.2.2 > 10.0.2.15")
    }`,
  ]);
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch {
    return false;
  }
}
