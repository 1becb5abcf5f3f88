import { assert, assertEquals } from "@std/assert";
import { type StreamPort, VsockDevice, type VsockDeviceOptions } from "@vireo/emu";
import { bytesOf, concat, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

// Typed again from virtio 1.4 §5.10.6.
const [RX, TX] = [0, 1] as const;
const [REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE] = [1, 2, 3, 4, 5, 6] as const;
const [STREAM, SEQPACKET] = [1, 2] as const;
const HEADER = 44;

interface Packet {
  readonly port: number;
  readonly op: number;
  readonly type?: number;
  readonly flags?: number;
  readonly alloc?: number;
  readonly data?: Uint8Array;
  readonly src?: readonly [number, number];
  readonly dst?: readonly [number, number];
}

function packet(of: Packet): Uint8Array {
  const { port, op, type = STREAM, flags = 0, alloc = 65536, data = new Uint8Array(0) } = of;
  const [src, dst] = [of.src ?? [3, 0], of.dst ?? [2, 0]];
  return concat(
    bytesOf([4, src[0]!], [4, src[1]!], [4, dst[0]!], [4, dst[1]!], [4, port], [4, 7]),
    bytesOf([4, data.length], [2, type], [2, op], [4, flags], [4, alloc], [4, 0]),
    data,
  );
}

/** A host that counts the streams it gave out and those that were let go of. */
class Host {
  open = 0;
  readonly chunks: number[] = [];
  /** Whether the host's user takes what the guest sends. */
  takes = true;
  /** Whether connections are answered at once, or when this is called. */
  readonly waiting: (() => void)[] = [];
  late = false;
  /** Whether the host's user sends without an end. */
  endless = false;
  sent = 0;

  connect(): StreamPort | Promise<StreamPort> {
    if (!this.late) return this.#port();
    return new Promise((resolve) => this.waiting.push(() => resolve(this.#port())));
  }

  #port(): StreamPort {
    this.open++;
    let ends = 2;
    const done = (): void => void (--ends === 0 && this.open--);
    return {
      readable: new ReadableStream<Uint8Array>({
        pull: (controller) => {
          if (!this.endless) return new Promise(() => {});
          this.sent += 4096;
          return controller.enqueue(new Uint8Array(4096));
        },
        cancel: done,
      }, { highWaterMark: 0 }),
      writable: new WritableStream<Uint8Array>({
        write: (chunk) => {
          this.chunks.push(chunk.length);
          return this.takes ? undefined : new Promise(() => {});
        },
        close: done,
        abort: done,
      }),
    };
  }
}

function rig(options: Partial<VsockDeviceOptions> = {}, how: RigOptions = {}) {
  const host = new Host();
  return Object.assign(new Rig(new VsockDevice({ host, ...options }), how), { host });
}

type It = ReturnType<typeof rig>;
const send = (it: It, of: Packet) => it.send(TX, packet(of));

/** Posts a buffer: the operation and the length of the packet that comes. */
async function receive(it: It): Promise<[op: number, length: number]> {
  const [bytes] = (await it.driver.request(RX, [{ write: 4096 }])).bytes;
  const view = new DataView(bytes!.buffer);
  return [view.getUint16(30, true), view.getUint32(24, true)];
}

/** Hostile drivers of the socket device. */
export const VSOCK: HostileSuite = {
  model: "vsock",
  cases: [
    {
      name: "a connection that is over before the host answered leaves no stream of the host open",
      async run() {
        await using it = rig();
        it.host.late = true;
        for (let port = 1; port <= 20; port++) {
          await send(it, { port, op: REQUEST });
          await send(it, { port, op: RST });
        }
        assertEquals([it.model.connections, it.model.ports], [0, 20]);
        for (const answer of it.host.waiting) answer();
        for (let i = 0; i < 5; i++) await it.turn();
        assertEquals([it.host.open, it.model.ports], [0, 0]);
      },
    },
    {
      name: "streams that the host does not let go of count against the limit of connections",
      async run() {
        await using it = rig({ maxConnections: 8 });
        it.host.takes = false;
        for (let port = 1; port <= 40; port++) {
          await send(it, { port, op: REQUEST });
          await send(it, { port, op: RW, data: new Uint8Array(8) });
          await send(it, { port, op: RST });
        }
        assertEquals([it.host.open, it.model.ports, it.model.connections], [8, 8, 0]);
        it.check();
      },
    },
    {
      name: "empty packets, or of one byte, cost the host no more than their bytes",
      async run() {
        await using it = rig({}, { memorySize: 8 << 20 });
        it.host.takes = false;
        await send(it, { port: 1, op: REQUEST });
        for (let i = 0; i < 3000; i++) await send(it, { port: 1, op: RW });
        assertEquals([it.host.chunks, it.model.connections], [[], 1], "none of them");
        const one = new Uint8Array(1);
        for (let i = 0; i < 3000; i++) await send(it, { port: 1, op: RW, data: one });
        // The first is on its way, the others wait as bytes of one chunk.
        assertEquals(it.host.chunks, [1]);
        await send(it, { port: 2, op: REQUEST, type: SEQPACKET });
        for (let i = 0; i < 1500; i++) {
          await send(it, { port: 2, op: RW, type: SEQPACKET, flags: 1 });
        }
        assertEquals(it.model.connections, 1, "too many empty messages end theirs");
        it.check();
      },
    },
    {
      name: "a guest's word for its room sizes nothing, and timers go on",
      async run() {
        await using it = rig();
        it.host.endless = true;
        await send(it, { port: 1, op: REQUEST, alloc: 0xffffffff });
        let ticks = 0;
        const timer = setInterval(() => ticks++, 1);
        while (ticks < 5) await it.turn();
        clearInterval(timer);
        assert(it.model.waiting <= 600, `${it.model.waiting} packets wait`);
        assert(it.host.sent <= 8 << 20, `${it.host.sent} bytes were asked of the host`);
        const before = it.host.sent;
        for (let i = 0; i < 700; i++) await receive(it);
        assert(it.host.sent > before, "it goes on when there is room");
        it.check();
      },
    },
    {
      name: "context ids have 64 bits: the upper half counts",
      async run() {
        await using it = rig();
        await send(it, { port: 8, op: REQUEST, src: [3, 1] });
        await send(it, { port: 9, op: REQUEST, dst: [2, 1] });
        assertEquals(it.model.connections, 0);
        await send(it, { port: 1, op: REQUEST });
        assertEquals([it.model.connections, await receive(it)], [1, [RESPONSE, 0]]);
      },
    },
    {
      name: "another context id moves the generation on, and tells the driver",
      run() {
        const it = rig();
        const generation = (): number => it.driver.slot.read32(0xfc);
        const first = generation();
        it.model.resetTransport();
        assertEquals(generation(), first);
        it.model.resetTransport(9);
        assert(generation() !== first);
        it.driver.interrupt();
        assertEquals(it.driver.configChanges, 1);
      },
    },
    {
      name: "packets of any header are answered, refused or ignored",
      async run(random) {
        await using it = rig({}, { memorySize: 8 << 20 });
        for (let i = 0; i < 2000; i++) {
          void it.queue(RX).add([{ write: 4096 }]);
          await send(it, {
            port: random() % 4,
            op: random() % 9,
            type: random() % 4,
            flags: random() % 8,
            alloc: random(),
            data: new Uint8Array(random() % 3 * 40),
          });
          if (i % 64 === 63) it.init();
        }
        it.check();
        await send(it, { port: 100, op: REQUEST });
        await send(it, { port: 100, op: SHUTDOWN, flags: 3 });
        await send(it, { port: 100, op: CREDIT_UPDATE });
      },
    },
    {
      name: "data that is longer than its packet, and a packet shorter than its header, are faults",
      async run() {
        const long = packet({ port: 1, op: RW });
        long.set(bytesOf([4, 70000]), 24);
        for (const bytes of [long, long.subarray(0, HEADER - 1)]) {
          await using it = rig();
          void it.queue(TX).add([{ read: bytes }]);
          it.queue(TX).kick();
          assertEquals([it.driver.needsReset, it.log.length], [true, 1]);
        }
      },
    },
    {
      name: "a snapshot has the context id, and its guest is told that connections are over",
      async run() {
        await using it = rig();
        await send(it, { port: 1, op: REQUEST });
        it.model.resetTransport(5);
        await using next = it.moveTo(rig({}, it.memory));
        assertEquals([next.model.cid, next.model.connections], [5, 0]);
        const { bytes } = await it.driver.request(2, [{ write: 4 }]);
        assertEquals([...bytes[0]!], [0, 0, 0, 0]);
      },
    },
  ],
};
