// A device by the messages of a front end, without a socket; numbers are typed again from vhost-user.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { DeviceId, Feature, NetFeature, type TraceDetail, VireoError } from "@vireo/hal";
import { joinBytes, Libc, Poller, u32s, u64s, VhostUserRequest as R } from "@vireo/hal/vhost-user";
import { EchoModel, type EchoModelOptions } from "../../testing/echo_model.ts";
import { type FrontEndLink, VhostUserDevice, type VhostUserDeviceOptions } from "./device.ts";

const [VERSION_1, PROTOCOL] = [2 ** 32, 2 ** 30];
const STATUS = 2 ** 16;
const ALL_PROTOCOL = 2 ** 32 - 1;
/** The front end's memory: its guest address, its address in the front end, bytes. */
const [GUEST, USER, SIZE] = [0x10_0000, 0x7000_0000, 0x1_0000];
/** Parts of the queue, and a buffer. */
const [DESC, AVAIL, USED, BUFFER] = [0, 0x1000, 0x2000, 0x3000];
const [ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET] = [1, 2, 4, 8, 64];

/** A device, and a front end that sends it any message. */
class Rig implements AsyncDisposable {
  readonly libc = new Libc();
  readonly poller = new Poller(this.libc);
  readonly events: TraceDetail[] = [];
  readonly model: EchoModel;
  readonly device: VhostUserDevice;
  readonly memoryFd: number = this.libc.memoryFile("vireo-test", SIZE);
  readonly memory = this.libc.map(this.memoryFd, SIZE);
  readonly view = new DataView(this.memory.buffer);
  readonly #open: number[] = [this.memoryFd];

  constructor(options: EchoModelOptions = {}, more: Partial<VhostUserDeviceOptions> = {}) {
    this.model = new EchoModel(options);
    const { events } = this;
    this.device = new VhostUserDevice(this.libc, this.poller, {
      model: this.model,
      capacity: 1 << 24,
      trace: {
        time: 0,
        emit: (detail) => void events.push(detail),
        asked: () => ({ request: undefined }),
        answered: () => ({ request: undefined }),
      },
      ...more,
    });
  }

  /** Carries out a request with copies of descriptors; the answer's bytes. */
  async send(request: number, payload = new Uint8Array(0), fds: number[] = []): Promise<number[]> {
    const copies = fds.map((fd) => this.libc.inheritable(fd));
    const message = { request, flags: 1, payload: payload.slice(), fds: copies };
    const answer = await this.device.handle(message);
    if (answer?.fd !== undefined) this.#open.push(answer.fd);
    return [...answer?.payload ?? []];
  }

  /** What an error of a request says. */
  async refusal(request: number, payload?: Uint8Array, fds?: number[]): Promise<string> {
    const error = await assertRejects(
      () => this.send(request, payload?.slice(), fds),
      VireoError,
    );
    assertEquals(error.code, "BAD_MESSAGE");
    return error.message;
  }

  async status(): Promise<number> {
    return (await this.send(R.GET_STATUS))[0]!;
  }

  /** An eventfd that is closed with the rig. */
  event(): number {
    const fd = this.libc.eventFd();
    this.libc.setNonBlocking(fd);
    this.#open.push(fd);
    return fd;
  }

  /** Whether an eventfd was signalled since this was last asked. */
  signalled(fd: number): boolean {
    return this.libc.clearEvent(fd);
  }

  /** Agrees on features, and shares the memory. */
  async greet(features = VERSION_1 + PROTOCOL, protocol = ALL_PROTOCOL): Promise<void> {
    await this.send(R.SET_PROTOCOL_FEATURES, u64s(protocol));
    await this.send(R.SET_FEATURES, u64s(features));
    await this.share();
  }

  /** Shares the memory. */
  async share(): Promise<void> {
    const region = joinBytes(u32s(1, 0), u64s(GUEST, SIZE, USER, 0));
    await this.send(R.SET_MEM_TABLE, region, [this.memoryFd]);
  }

  /** Sets up queue 0 with eight descriptors and lets it run; whether it is enabled is another message. */
  async run(base = 0, size = 8): Promise<void> {
    await this.send(R.SET_VRING_NUM, u32s(0, size));
    await this.send(R.SET_VRING_BASE, u32s(0, base));
    const parts = joinBytes(u32s(0, 0), u64s(USER + DESC, USER + USED, USER + AVAIL, 0));
    await this.send(R.SET_VRING_ADDR, parts);
    await this.send(R.SET_VRING_KICK, u64s(0), [this.event()]);
  }

  enable(on: number): Promise<number[]> {
    return this.send(R.SET_VRING_ENABLE, u32s(0, on));
  }

  /** Makes one writable buffer available, at a guest address. */
  add(address = GUEST + BUFFER): void {
    this.view.setBigUint64(DESC, BigInt(address), true);
    this.view.setUint32(DESC + 8, 4, true);
    this.view.setUint16(DESC + 12, 2, true);
    this.view.setUint16(AVAIL + 2, 1 + this.view.getUint16(AVAIL + 2, true), true);
  }

  get used(): number {
    return this.view.getUint16(USED + 2, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.device[Symbol.dispose]();
    await this.poller[Symbol.asyncDispose]();
    this.libc.unmap(this.memory);
    for (const fd of this.#open) this.libc.close(fd);
    this.libc.dispose();
  }
}

Deno.test("vhost-user device: it starts with the first queue that runs and is enabled, whichever is said first", async () => {
  for (const enabledFirst of [true, false]) {
    await using rig = new Rig();
    await rig.greet();
    rig.add();
    if (enabledFirst) await rig.enable(1);
    else {
      await rig.run();
      await rig.enable(0);
    }
    assertEquals([rig.device.hosted.active, rig.used], [false, 0]);
    if (enabledFirst) await rig.run();
    else await rig.enable(1);
    assertEquals([rig.device.hosted.active, rig.used], [true, 1]);
    // A queue that is off is left alone, and served once it is on again.
    await rig.enable(0);
    rig.add();
    await rig.run().catch(() => {});
    assertEquals(rig.used, 1);
    await rig.enable(1);
    assertEquals(rig.used, 2);
  }
});

Deno.test("vhost-user device: without protocol features a queue is enabled by its kick", async () => {
  for (const features of [VERSION_1, undefined]) {
    await using rig = new Rig();
    if (features !== undefined) await rig.greet(features);
    else await rig.share();
    rig.add();
    await rig.run();
    assertEquals(rig.used, 1);
  }
});

Deno.test("vhost-user device: a driver without VERSION_1 has the parts of its queue where they were said to be", async () => {
  await using rig = new Rig();
  await rig.greet(PROTOCOL);
  rig.add();
  await rig.run();
  await rig.enable(1);
  assertEquals([rig.device.hosted.legacy, rig.used], [true, 1]);
});

Deno.test("vhost-user device: the status is the front end's, but for NEEDS_RESET and features that cannot be", async () => {
  await using rig = new Rig({ accept: (features) => !features.has(0) });
  const set = async (value: number): Promise<number> => {
    await rig.send(R.SET_STATUS, u64s(value));
    return await rig.status();
  };
  assertEquals([await set(11), await set(0)], [11, 0], "no features are some that can be");
  rig.events.length = 0;
  await rig.greet();
  assertEquals(await set(ACKNOWLEDGE | DRIVER), ACKNOWLEDGE | DRIVER);
  // Features keep the steps before them, where a status was agreed on.
  await rig.send(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL));
  assertEquals(await rig.status(), ACKNOWLEDGE | DRIVER);
  const served = ACKNOWLEDGE | DRIVER | FEATURES_OK;
  assertEquals(await set(served), served);
  await rig.run();
  await rig.enable(1);
  assertEquals(await set(served | DRIVER_OK), served | DRIVER_OK);
  assert(rig.device.hosted.active);
  rig.device.hosted.fault("a test");
  assertEquals(await set(served | DRIVER_OK), served | DRIVER_OK | NEEDS_RESET);
  assertEquals([await set(0), rig.device.hosted.active], [0, false]);
  // The model does not take bit 0: FEATURES_OK does not stay, until a reset or other features.
  await rig.send(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL + 1));
  assertEquals(await set(served), ACKNOWLEDGE | DRIVER);
  assertEquals([await set(0), await set(served)], [0, served]);
  const told = rig.events.flatMap((event) => event.kind === "status" ? [event.status] : []);
  assertEquals(told, [3, 11, 15, 15, 0, 11, 0, 11]);
  await rig.send(R.RESET_DEVICE);
  assertEquals([rig.events.at(-1), await rig.status()], [{ kind: "status", status: 0 }, 0]);
});

Deno.test("vhost-user device: DRIVER_OK starts a device, too, and once", async () => {
  await using rig = new Rig();
  await rig.greet();
  await rig.run();
  for (let i = 0; i < 2; i++) await rig.send(R.SET_STATUS, u64s(15));
  assertEquals(rig.model.calls.filter((call) => call === "activate").length, 1);
});

Deno.test("vhost-user device: features may be said again while it runs, others may not", async () => {
  await using rig = new Rig();
  // Without the status of the protocol FEATURES_OK is the device's to set.
  await rig.greet(VERSION_1 + PROTOCOL, ALL_PROTOCOL - STATUS);
  assertEquals(await rig.status(), ACKNOWLEDGE | DRIVER | FEATURES_OK);
  await rig.run();
  await rig.enable(1);
  rig.add();
  await rig.send(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL));
  assert(rig.device.hosted.active && rig.device.hosted.running(0));
  assertEquals(
    await rig.refusal(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL + 1)),
    "Cannot change the features of a device whose queues run: saw 0 32, expected 32",
  );
  await rig.send(R.GET_VRING_BASE, u32s(0, 0));
  await rig.send(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL + 1));
  assertEquals([rig.device.hosted.active, rig.device.hosted.features.has(0)], [false, true]);
});

Deno.test("vhost-user device: what it offers is the model's and the protocol's, and of pairs what a front end may use", async () => {
  const bits = (bytes: readonly number[]): number[] =>
    Array.from({ length: 64 }, (_, i) => i).filter((i) => (bytes[i >> 3]! >> (i & 7) & 1) === 1);
  await using rig = new Rig({ configSize: 0, queueSizes: [8, 8, 8, 8, 8] });
  const [ring, protocol] = [bits(await rig.send(R.GET_FEATURES)), R.GET_PROTOCOL_FEATURES];
  assertEquals(ring, [0, 28, 29, 30, 32]);
  assertEquals(bits(await rig.send(protocol)), [0, 3, 5, 12, 13, 15, 16]);
  assertEquals((await rig.send(R.GET_QUEUE_NUM))[0], 5);
  assertEquals((await rig.send(R.GET_MAX_MEM_SLOTS))[0], 32);
  await rig.greet();
  const accepted = rig.events.find((event) => event.kind === "features" && event.by === "driver");
  assertEquals(accepted?.kind === "features" && [...accepted.features], [32]);

  // A net device's control queue is the front end's, and so is what needs it.
  const { CTRL_VQ, CTRL_RX, MQ, MAC } = NetFeature;
  const features = rig.model.features.with(CTRL_VQ, CTRL_RX, MQ, MAC);
  const model = new EchoModel({ features, queueSizes: [8, 8, 8, 8, 8] });
  Object.assign(model, { deviceId: DeviceId.NET });
  await using net = new Rig({}, { model });
  assertEquals((await net.send(R.GET_QUEUE_NUM))[0], 2);
  assert(bits(await net.send(protocol)).includes(9), "CONFIG");
  assertEquals(bits(await net.send(R.GET_FEATURES)), [0, MAC, MQ, 28, 29, 30, 32]);
  await net.send(R.SET_FEATURES, u64s(2 ** MQ + 2 ** MAC + VERSION_1));
  assertEquals([...net.device.hosted.features], [MAC, Feature.VERSION_1]);
});

Deno.test("vhost-user device: sizes of queues are powers of two up to 1024 or the model's, any for packed ones", async () => {
  const sizes = async (rig: Rig, ...tried: number[]): Promise<number[]> => {
    const taken: number[] = [];
    for (const size of tried) {
      await rig.send(R.SET_VRING_NUM, u32s(0, size)).then(() => taken.push(size), () => {});
    }
    return taken;
  };
  await using split = new Rig({ queueSizes: [16] }, { offer: { packed: true } });
  await split.greet();
  assertEquals(await sizes(split, 0, 1, 2, 3, 1024, 1025, 2048), [1, 2, 1024]);
  assertEquals(split.device.hosted.configs[0]!.size, 1024);
  await split.greet(VERSION_1 + PROTOCOL + 2 ** 34);
  assertEquals(await sizes(split, 0, 1, 3, 1023, 1024, 1025), [1, 3, 1023, 1024]);
  await using large = new Rig({ queueSizes: [2048] });
  await large.greet();
  assertEquals(await sizes(large, 2048, 4096), [2048]);
});

Deno.test("vhost-user device: memory of inflight requests has a place, a size and counts within bounds", async () => {
  const PART = 16 * 40 + 64; // 16 entries behind a header, in multiples of 64
  const range = (queues: number, size: number, bytes = 0, offset = 0): Uint8Array<ArrayBuffer> =>
    joinBytes(u64s(bytes, offset), u32s(queues | size << 16));
  await using rig = new Rig({ queueSizes: [16, 16] });
  await rig.greet();
  for (const [queues, size] of [[0, 16], [3, 16], [1, 0], [1, 1025]] as const) {
    const why = await rig.refusal(R.GET_INFLIGHT_FD, range(queues, size));
    assertEquals(
      why,
      `Cannot note inflight requests: saw ${queues} queues of ${size}, expected 1 to 2 queues of 1 to 1024`,
    );
  }
  for (const [queues, size] of [[1, 1], [2, 1024]] as const) {
    await rig.send(R.GET_INFLIGHT_FD, range(queues, size));
  }
  const answer = await rig.send(R.GET_INFLIGHT_FD, range(2, 16));
  const bytes = new DataView(Uint8Array.from(answer).buffer).getUint32(0, true);
  assertEquals([bytes % 64, bytes >= PART, bytes < 2 * PART + 128], [0, true, true]);
  // A place in it may be far from its start.
  const FARTHEST = 2 ** 30;
  const large = rig.libc.memoryFile("vireo-test", FARTHEST + 64 + bytes);
  rig.libc.fixSize(large);
  await rig.send(R.SET_INFLIGHT_FD, range(2, 16, bytes, FARTHEST), [large]);
  await assertRejects(
    () => rig.send(R.SET_INFLIGHT_FD, range(2, 16, bytes, FARTHEST + 64), [large]),
    VireoError,
    "Cannot take the memory of inflight requests",
  );
  rig.libc.close(large);
  const sealed = rig.libc.memoryFile("vireo-test", 64 + bytes);
  rig.libc.fixSize(sealed);
  const set = (size: number, offset: number): Promise<unknown> =>
    rig.send(R.SET_INFLIGHT_FD, range(2, 16, size, offset), [sealed]);
  await set(bytes, 0);
  await set(bytes, 64);
  for (const [size, offset] of [[bytes - 1, 0], [bytes + 1, 64], [bytes, 32], [bytes, 128]]) {
    await assertRejects(() => set(size!, offset!), VireoError, `${size} bytes at ${offset}`);
  }
  rig.libc.close(sealed);
});

Deno.test("vhost-user device: the configuration is written in aligned pieces, and read beyond its end as zeroes", async () => {
  await using rig = new Rig({ configSize: 14 });
  const range = (offset: number, bytes: readonly number[]): Uint8Array<ArrayBuffer> =>
    joinBytes(u32s(offset, bytes.length, 0), Uint8Array.from(bytes));
  const bytes = Array.from({ length: 13 }, (_, i) => 0x81 + i);
  await rig.send(R.SET_CONFIG, range(1, bytes));
  const written = rig.events.flatMap((event) =>
    event.kind === "config" ? [[event.op, event.offset, event.width, event.value]] : []
  );
  assertEquals(written, [
    ["write", 1, 1, 0x81],
    ["write", 2, 2, 0x8382],
    ["write", 4, 4, 0x87868584],
    ["write", 8, 4, 0x8b8a8988],
    ["write", 12, 2, 0x8d8c],
  ]);
  assertEquals((await rig.send(R.GET_CONFIG, range(0, Array(16).fill(9)))).slice(12), [
    ...[0, ...bytes],
    ...[0, 0],
  ]);
  const read: number[] = [];
  Object.assign(rig.model, { readConfig: (offset: number) => (read.push(offset), 0) });
  await rig.send(R.GET_CONFIG, range(3, [0, 0]));
  assertEquals(read, [3, 4], "and no more of it than was asked for");
  assertEquals(
    await rig.refusal(R.SET_CONFIG, range(1, [...bytes, 1])),
    "Cannot write past the end of the configuration: saw bytes 1 to 15, expected at most 14",
  );
  assertEquals(rig.device.hosted.log, []);
});

Deno.test("vhost-user device: calls and errors reach the descriptors that were given last", async () => {
  await using rig = new Rig();
  await rig.greet();
  const [call, next, error] = [rig.event(), rig.event(), rig.event()];
  await rig.send(R.SET_VRING_CALL, u64s(0), [call]);
  assert(!rig.signalled(call), "nothing runs");
  await rig.run();
  await rig.send(R.SET_VRING_ERR, u64s(0), [error]);
  rig.add();
  await rig.enable(1);
  assert(rig.signalled(call));
  // What was used before may have been missed.
  await rig.send(R.SET_VRING_CALL, u64s(0), [next]);
  assertEquals([rig.signalled(call), rig.signalled(next)], [false, true]);
  rig.add();
  await rig.enable(1);
  assertEquals([rig.signalled(call), rig.signalled(next)], [false, true]);
  // 0x100 is none; index 1 is no queue.
  await rig.send(R.SET_VRING_CALL, u64s(0x100));
  rig.add();
  await rig.enable(1);
  assertEquals([rig.used, rig.signalled(next), rig.signalled(error)], [3, false, false]);
  assertEquals(
    await rig.refusal(R.SET_VRING_CALL, u64s(1), [call]),
    "Cannot find a queue (queue 1): expected one of 1 queues",
  );
  rig.add(GUEST + SIZE);
  await rig.enable(1);
  assert(rig.signalled(error));
  const faults = rig.events.flatMap((event) => event.kind === "fault" ? [event.message] : []);
  assertEquals(faults, ["The device needs a reset"]);
});

Deno.test("vhost-user device: a change of the configuration is told to the link, and what it says to the trace", async () => {
  await using rig = new Rig();
  const changes = (): unknown[] => rig.events.filter(({ kind }) => kind === "change");
  let calls = 0;
  const link: FrontEndLink = { configChanged: () => ++calls === 1 ? undefined : "it is full" };
  await rig.greet();
  await rig.run();
  await rig.enable(1);
  rig.device.hosted.configChanged();
  rig.device.connected(link);
  rig.device.hosted.configChanged();
  rig.device.hosted.configChanged();
  rig.device.disconnected();
  await rig.greet();
  await rig.run();
  await rig.enable(1);
  rig.device.hosted.configChanged();
  assertEquals([calls, changes()], [2, [
    { kind: "change", unsent: "there is no front end" },
    { kind: "change", unsent: undefined },
    { kind: "change", unsent: "it is full" },
    { kind: "change", unsent: "there is no front end" },
  ]]);
});

Deno.test("vhost-user device: a queue says where it stands when it stops; a reset keeps that, a new front end does not", async () => {
  await using rig = new Rig();
  const base = async (): Promise<number> => {
    const bytes = await rig.send(R.GET_VRING_BASE, u32s(0, 0));
    return new DataView(Uint8Array.from(bytes).buffer).getUint32(4, true);
  };
  await rig.greet();
  await rig.run();
  rig.add();
  await rig.enable(1);
  assertEquals([await base(), rig.device.hosted.running(0), await base()], [1, false, 1]);
  await rig.send(R.RESET_DEVICE);
  assertEquals([await base(), rig.device.regions], [1, 1]);
  // Settings are gone: no part is in a region.
  assertEquals(
    await rig.refusal(R.SET_VRING_KICK, u64s(0), [rig.event()]),
    "Cannot start a queue: its desc part must be in a region (queue 0): saw 0x0",
  );
  await rig.greet();
  await rig.send(R.SET_STATUS, u64s(3));
  rig.events.length = 0;
  for (let i = 0; i < 2; i++) rig.device.disconnected();
  assertEquals(rig.events, [{ kind: "status", status: 0 }], "what was reset is not reset again");
  assertEquals([await base(), rig.device.regions, [...rig.device.protocol]], [0, 0, []]);
  // Without features that say so, there are no protocol features: a kick enables.
  const region = joinBytes(u64s(0), u64s(GUEST, SIZE, USER, 0));
  await rig.send(R.ADD_MEM_REG, region, [rig.memoryFd]);
  rig.add();
  await rig.run(1);
  assertEquals([rig.used, rig.device.regions], [2, 1]);
  await rig.send(R.GET_VRING_BASE, u32s(0, 0));
  await rig.send(R.REM_MEM_REG, region);
  assertEquals(rig.device.regions, 0);
  // A base of 16 bits is the most.
  await rig.greet();
  await rig.run(0xffff);
  await rig.send(R.GET_VRING_BASE, u32s(0, 0));
  await assertRejects(() => rig.run(0x1_0000), VireoError, "Cannot start a split queue: saw 65536");
});

Deno.test("vhost-user device: a queue that stops waits for what the model has, unless the device needs a reset", async () => {
  for (const broken of [false, true]) {
    await using rig = new Rig({ hold: true });
    await rig.greet();
    await rig.run();
    rig.add();
    await rig.enable(1);
    assertEquals(rig.model.held.length, 1);
    if (broken) rig.device.hosted.fault("a test");
    const stopped = rig.send(R.GET_VRING_BASE, u32s(0, 0));
    if (!broken) {
      assert(rig.device.hosted.running(0), "it waits");
      rig.model.release();
    }
    assertEquals((await stopped)[4], broken ? 0 : 1);
  }
});

Deno.test("vhost-user device: a kick serves a queue, and the trace says what was made of it", async () => {
  await using rig = new Rig();
  await rig.greet();
  const kick = rig.event();
  const kicked = async (): Promise<unknown> => {
    const before = rig.events.length;
    rig.libc.signalEvent(kick);
    const told = (): TraceDetail | undefined =>
      rig.events.slice(before).find(({ kind }) => kind === "notified");
    const { signal } = deadline();
    while (told() === undefined) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    const event = told();
    return event?.kind === "notified" && event.ignored;
  };
  await rig.run();
  await rig.send(R.SET_VRING_KICK, u64s(0), [kick]);
  rig.add();
  assertEquals([await kicked(), rig.used], ["the front end has not enabled the queue", 0]);
  await rig.enable(1);
  assertEquals(rig.used, 1);
  rig.add();
  assertEquals([await kicked(), rig.used], [undefined, 2]);
  assert(!rig.signalled(kick), "it is read");
});

Deno.test("vhost-user device: a descriptor is closed once another replaces it, and with its queue", async () => {
  await using rig = new Rig();
  const fd = rig.event();
  const link = Deno.readLinkSync(`/proc/self/fd/${fd}`);
  /** Eventfds of this process. */
  const open = (): number =>
    [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
      try {
        return Deno.readLinkSync(`/proc/self/fd/${name}`) === link;
      } catch {
        return false; // The descriptor that reads the folder.
      }
    }).length;
  await rig.greet();
  await rig.run();
  const before = open();
  for (const request of [R.SET_VRING_CALL, R.SET_VRING_ERR, R.SET_VRING_KICK]) {
    const more = request === R.SET_VRING_KICK ? 0 : 1;
    for (let i = 0; i < 3; i++) {
      await rig.send(request, u64s(0), [fd]);
      assertEquals(open(), before + more);
    }
    await rig.send(request, u64s(0x100));
    assertEquals(open(), request === R.SET_VRING_KICK ? before - 1 : before);
    await rig.send(request, u64s(0), [fd]);
    if (more === 1) await rig.send(request, u64s(0x100));
  }
  for (const request of [R.SET_VRING_CALL, R.SET_VRING_ERR]) await rig.send(request, u64s(0), [fd]);
  assertEquals(open(), before + 2);
  await rig.send(R.GET_VRING_BASE, u32s(0, 0));
  assertEquals(open(), before - 1);
});

Deno.test("vhost-user device: a descriptor must be an eventfd, and there must be one where it is said to be", async () => {
  await using rig = new Rig();
  const fd = rig.event();
  for (const request of [R.SET_VRING_CALL, R.SET_VRING_ERR, R.SET_VRING_KICK]) {
    assertEquals(
      await rig.refusal(request, u64s(0), [rig.memoryFd]),
      "Cannot take a queue's descriptor (queue 0): expected an eventfd",
    );
    for (const [value, fds] of [[0, []], [0x100, [fd]]] as const) {
      assertEquals(
        await rig.refusal(request, u64s(value), [...fds]),
        `Cannot take a queue's descriptor (queue 0): saw ${fds.length} descriptors, expected ${
          1 - fds.length
        }`,
      );
    }
  }
});

Deno.test("vhost-user device: the trace has a queue's place when it starts, and none when it stops", async () => {
  await using rig = new Rig();
  await rig.greet();
  const queues = (): unknown[] => rig.events.filter(({ kind }) => kind === "queue");
  await rig.run();
  const ring = { size: 8, desc: GUEST + DESC, driver: GUEST + AVAIL, device: GUEST + USED };
  assertEquals(queues(), [{ kind: "queue", queue: 0, ring }]);
  for (let i = 0; i < 2; i++) await rig.send(R.GET_VRING_BASE, u32s(0, 0));
  assertEquals(queues().slice(1), [{ kind: "queue", queue: 0, ring: undefined }]);
});

Deno.test("vhost-user device: the model is told which queues are enabled", async () => {
  await using rig = new Rig();
  const told: unknown[] = [];
  Object.assign(rig.model, { setQueueEnabled: (...args: unknown[]) => void told.push(args) });
  await rig.greet();
  for (const on of [1, 0]) await rig.enable(on);
  assertEquals(
    await rig.refusal(R.SET_VRING_ENABLE, u32s(0, 2)),
    "Cannot enable a queue (queue 0): saw 2, expected 0 or 1",
  );
  assertEquals(told, [[0, true], [0, false]]);
});

Deno.test("vhost-user device: a table has up to eight regions, each with its descriptor", async () => {
  await using rig = new Rig();
  const table = (said: number, regions: number): Uint8Array<ArrayBuffer> =>
    joinBytes(
      u32s(said, 0),
      ...Array.from({ length: regions }, (_, i) =>
        u64s(GUEST + i * 0x1000, 0x1000, USER + i * 0x1000, i * 0x1000)),
    );
  const set = (said: number, regions: number, fds: number): Promise<unknown> =>
    rig.send(R.SET_MEM_TABLE, table(said, regions), new Array<number>(fds).fill(rig.memoryFd));
  await set(8, 8, 8);
  assertEquals(rig.device.regions, 8);
  await set(2, 3, 2);
  assertEquals(rig.device.regions, 2);
  for (const [said, regions, fds] of [[9, 9, 9], [3, 2, 3], [2, 2, 1], [2, 2, 3]] as const) {
    await assertRejects(() => set(said, regions, fds), VireoError, "Cannot take a table of memory");
    assertEquals(rig.device.regions, 2);
  }
  const more = joinBytes(u64s(0), u64s(0x1000, 0x1000, 0x1000, 0));
  await set(0, 0, 0);
  for (let i = 0; i < 32; i++) {
    const at = 0x10_0000 + 0x1000 * i;
    await rig.send(R.ADD_MEM_REG, joinBytes(u64s(0), u64s(at, 0x1000, at, 0)), [rig.memoryFd]);
  }
  assertEquals(
    await rig.refusal(R.ADD_MEM_REG, more, [rig.memoryFd]),
    "Cannot add a region: saw 33, expected 32",
  );
});

for (const packed of [false, true]) {
  Deno.test(`vhost-user device: the next one takes again what the last one noted, ${packed ? "packed" : "split"}`, async () => {
    const features = VERSION_1 + PROTOCOL + (packed ? 2 ** 34 : 0);
    const unnoted: unknown[] = [];
    await using rig = new Rig({ hold: true }, {
      offer: { packed: true },
      unnoted: (queue) => void unnoted.push(queue),
    });
    const notes = joinBytes(u64s(4096, 0), u32s(1 | 8 << 16));
    const file = rig.libc.memoryFile("vireo-test", 4096);
    rig.libc.fixSize(file);
    const start = async (size = 8): Promise<void> => {
      await rig.greet(features);
      await rig.send(R.SET_INFLIGHT_FD, notes, [file]);
      await rig.run(packed ? 0x8000_8000 : 0, size);
      await rig.enable(1);
    };
    if (packed) {
      rig.view.setBigUint64(DESC, BigInt(GUEST + BUFFER), true);
      rig.view.setUint32(DESC + 8, 4, true);
      // WRITE and AVAIL.
      rig.view.setUint16(DESC + 14, 0x82, true);
    } else rig.add();
    await start();
    assertEquals(rig.model.held.length, 1);
    // It ends with the request in its hands.
    rig.device.disconnected();
    assertEquals(rig.model.held.length, 0);
    await start();
    assertEquals(rig.model.held.length, 1, "taken again");
    rig.model.release();
    assertEquals(packed ? rig.view.getUint16(DESC + 14, true) : rig.used, packed ? 0x8080 : 1);
    rig.device.disconnected();
    // A front end that gives no such memory has none of the last one's.
    await rig.greet(features);
    await rig.run(packed ? 0x8000_8000 : 0, 16);
    await rig.enable(1);
    rig.device.disconnected();
    assertEquals(unnoted, []);
    await start(16);
    assertEquals(unnoted, [{ queue: 0, size: 16, room: 8 }]);
    rig.libc.close(file);
  });
}

/** A signal that ends a wait which would never end. */
function deadline(): { readonly signal: AbortSignal } {
  return { signal: AbortSignal.timeout(5000) };
}

Deno.test("vhost-user device: a queue goes on behind what its used ring has, wherever that lies", async () => {
  await using rig = new Rig();
  await rig.greet();
  const [used, desc, avail] = [0, 0x1000, 0x2000];
  rig.view.setBigUint64(desc, BigInt(GUEST + BUFFER), true);
  rig.view.setUint32(desc + 8, 4, true);
  rig.view.setUint16(desc + 12, 2, true);
  // One buffer is new, and two that were taken before are not used yet.
  rig.view.setUint16(avail + 2, 6, true);
  rig.view.setUint16(used + 2, 3, true);
  await rig.send(R.SET_VRING_NUM, u32s(0, 8));
  await rig.send(R.SET_VRING_BASE, u32s(0, 5));
  const parts = joinBytes(u32s(0, 0), u64s(USER + desc, USER + used, USER + avail, 0));
  await rig.send(R.SET_VRING_ADDR, parts);
  await rig.send(R.SET_VRING_KICK, u64s(0), [rig.event()]);
  await rig.enable(1);
  assertEquals(rig.view.getUint16(used + 2, true), 4);
});

Deno.test("vhost-user device: memory of an earlier table is let go of once no queue runs in it", async () => {
  await using rig = new Rig();
  /** Mappings of the front end's memory: its own, and the device's. */
  const mapped = (): number =>
    Deno.readTextFileSync("/proc/self/maps").split("\n")
      .filter((line) => line.includes("memfd:vireo-test")).length;
  const none = joinBytes(u32s(0, 0));
  assertEquals(mapped(), 1);
  await rig.greet();
  assertEquals(mapped(), 2);
  await rig.send(R.SET_MEM_TABLE, none);
  assertEquals(mapped(), 1);
  for (const end of [R.GET_VRING_BASE, R.RESET_DEVICE]) {
    await rig.greet();
    await rig.run();
    await rig.send(R.SET_MEM_TABLE, none);
    assertEquals([mapped(), rig.device.hosted.running(0)], [2, true]);
    await rig.send(end, end === R.GET_VRING_BASE ? u32s(0, 0) : undefined);
    assertEquals([mapped(), rig.device.hosted.running(0)], [1, false]);
  }
});
