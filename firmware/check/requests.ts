import { get, join, u16, u32, u64, zeroes } from "./bytes.ts";
import type { CheckContext, Reply } from "./context.ts";

/** Virtio ids of the types that checks know. */
export const TYPE = {
  NET: 1,
  BLK: 2,
  CONSOLE: 3,
  RNG: 4,
  BALLOON: 5,
  RPMSG: 7,
  SCSI: 8,
  P9: 9,
  RPROC_SERIAL: 11,
  CAIF: 12,
  GPU: 16,
  INPUT: 18,
  VSOCK: 19,
  CRYPTO: 20,
} as const;

/** A request that a sound device of its type carries out, whatever else it can. */
export interface KnownRequest {
  /** The queue that it goes to. */
  readonly queue: number;
  /** The queues that must be set up. */
  readonly queues: readonly number[];
  /** Features that it needs, of those that are offered. */
  readonly features?: readonly number[];
  /** Bytes that the device reads, a segment each. */
  readonly readable: readonly Uint8Array[];
  /** Lengths of the segments that it writes. */
  readonly writable: readonly number[];
  /** Bytes that it must say it wrote; unknown if it may choose. */
  readonly written?: number;
  /** Whether what is sent may come back, so that a receive queue must take it. */
  readonly receives?: true;
  /** Prepares the device once it runs. */
  prepare?(context: CheckContext): void;
  /** Feeds the device again and again while an answer is awaited. */
  feed?(context: CheckContext): void;
  /** Looks at the answer. */
  check(context: CheckContext, reply: Reply): void;
}

/** Checks nothing: a request that sends has no answer but that it was used. */
const nothing = (): void => {};

/** An Ethernet frame from a locally administered address to all. */
export const FRAME: Uint8Array = join(
  zeroes(6).fill(0xff),
  [0x02, 0, 0, 0, 0, 1],
  [0x88, 0xb5],
  zeroes(46),
);

/** Bytes of the header of network packets without MRG_RXBUF: legacy ones have no `num_buffers`. */
export function netHeader({ legacy }: CheckContext): number {
  return legacy ? 10 : 12;
}

/** A block request's header. */
export function blkHeader(type: number, sector: number | bigint): Uint8Array {
  return join(u32(type, 0), u64(sector));
}

/** Bits without which a device refuses FEATURES_OK: a host-managed disk needs ZONED (dev.blk.init.8). */
export function demanded(context: CheckContext): readonly number[] {
  return context.device.id === TYPE.BLK && zonedModel(context) === 1 ? [17] : [];
}

/** The zoned model of a disk: 0 without ZONED, or of a disk that keeps its zones to itself, 1 host-managed, 2 host-aware. */
export function zonedModel(context: CheckContext): number {
  return context.offered().has(17) ? context.device.config(92, 1) : 0;
}

/** A SCSI command for target 0, unit 0. */
export function scsiCommand(cdb: readonly number[], target = 0, unit = 0): Uint8Array {
  return join(
    [1, target, 0x40 | unit >>> 8, unit & 0xff, 0, 0, 0, 0],
    u64(7),
    [0, 0, 0],
    cdb,
    zeroes(32 - cdb.length),
  );
}

/** The queue that control requests of the crypto device go to. */
export function cryptoControl({ device }: CheckContext): number {
  return device.config(4, 4);
}

/** A request for a session of AES in CBC mode, without REVISION_1. */
export function cryptoSession(algo = 3, key: Uint8Array = zeroes(16)): Uint8Array {
  return join(
    u32(0x0002, algo, 0, 0),
    u32(algo, key.length, 1, 0),
    zeroes(32),
    u32(1, 0),
    key,
  );
}

/** A 9P2000.L message that begins a session. */
export const TVERSION: Uint8Array = join(
  u32(4 + 1 + 2 + 4 + 2 + 8),
  [100],
  u16(0xffff),
  u32(4096),
  u16(8),
  new TextEncoder().encode("9P2000.L"),
);

/** A header of a socket packet from the guest to the host. */
export function vsockHeader(
  cid: number,
  options: { length?: number; type?: number; op: number; flags?: number; src?: number },
): Uint8Array {
  const { length = 0, type = 1, op, flags = 0, src = cid } = options;
  return join(
    u64(src, 2),
    u32(1234, 99999, length),
    u16(type, op),
    u32(flags, 4096, 0),
  );
}

/** Bytes of a receive buffer. */
const ROOM = 512;

/** Posts receive buffers, without which a port whose other end answers would take no more in the end. */
function receive(context: CheckContext): void {
  if (!context.rings.has(0)) return;
  const ring = context.ring(0);
  ring.silence();
  const count = Math.min(16, ring.size);
  for (let i = 0; i < count; i++) ring.add(context.chain([context.writable(ROOM)]));
  context.device.notify(0);
}

/** Posts as many receive buffers as were used. */
function receiveMore(context: CheckContext): void {
  if (!context.rings.has(0)) return;
  const ring = context.ring(0);
  const used = ring.used();
  for (let i = 0; i < used.length; i++) ring.add(context.chain([context.writable(ROOM)]));
  if (used.length > 0) context.device.notify(0);
}

/** The request of a device's type; undefined if none is known. */
export function knownRequest(context: CheckContext): KnownRequest | undefined {
  const { device } = context;
  switch (device.id) {
    case TYPE.NET:
      return {
        queue: 1,
        queues: [0, 1],
        readable: [zeroes(netHeader(context)), FRAME],
        writable: [],
        written: 0,
        check: nothing,
      };
    case TYPE.BLK:
      return {
        queue: 0,
        queues: [0],
        readable: [blkHeader(0, 0)],
        writable: [512, 1],
        written: 513,
        check(context, { bytes }) {
          context.equal("status of a read of sector 0", bytes[512], 0);
        },
      };
    case TYPE.CONSOLE:
    case TYPE.RPROC_SERIAL:
      return {
        queue: 1,
        queues: [0, 1],
        readable: [Uint8Array.of(0x2e)],
        writable: [],
        written: 0,
        receives: true,
        prepare: receive,
        feed: receiveMore,
        check: nothing,
      };
    case TYPE.RNG:
      return {
        queue: 0,
        queues: [0],
        readable: [],
        writable: [16],
        check(context, { used }) {
          context.expect("length of the used buffer", used.length > 0, used.length, "1 to 16");
        },
      };
    case TYPE.BALLOON: {
      return {
        queue: 0,
        queues: [0, 1],
        readable: [balloonPage(context)],
        writable: [],
        written: 0,
        check: nothing,
      };
    }
    case TYPE.RPMSG:
      return {
        queue: 1,
        queues: [0, 1],
        readable: [join(u32(1024, 1025, 0), u16(1, 0), [0x2e])],
        writable: [],
        written: 0,
        check: nothing,
      };
    case TYPE.SCSI:
      return {
        queue: 2,
        queues: [0, 1, 2],
        readable: [scsiCommand([0x12, 0, 0, 0, 36, 0])],
        writable: [108, 36],
        check(context, { bytes }) {
          const response = bytes[11]!;
          const good = response === 0 || response === 3;
          context.expect("response to INQUIRY", good, response, "OK (0) or BAD_TARGET (3)");
        },
      };
    case TYPE.P9:
      return {
        queue: 0,
        queues: [0],
        readable: [TVERSION],
        writable: [64],
        check(context, { bytes }) {
          context.equal("answer to Tversion", bytes[4], 101);
        },
      };
    case TYPE.GPU:
      return {
        queue: 0,
        queues: [0, 1],
        readable: [join(u32(0x100, 0), zeroes(16))],
        writable: [408],
        written: 408,
        check(context, { bytes }) {
          context.equal("answer to GET_DISPLAY_INFO", get(bytes, 0, 4), 0x1101);
        },
      };
    case TYPE.INPUT:
      return {
        queue: 1,
        queues: [0, 1],
        readable: [join(u16(0x11, 0), u32(1))],
        writable: [],
        written: 0,
        check: nothing,
      };
    case TYPE.VSOCK:
      return {
        queue: 1,
        queues: [0, 1, 2],
        readable: [vsockHeader(device.config(0, 4), { op: 3 })],
        writable: [],
        written: 0,
        check: nothing,
      };
    case TYPE.CRYPTO: {
      const control = cryptoControl(context);
      return {
        queue: control,
        queues: [0, control],
        // A cipher that there is not: sessions are counted, and QEMU keeps them over a reset.
        readable: [cryptoSession(99)],
        writable: [16],
        written: 16,
        check(context, { bytes }) {
          const status = get(bytes, 8, 4);
          const refused = status === 1 || status === 3;
          context.expect("status of a session of no cipher", refused, status, "ERR or NOTSUPP");
        },
      };
    }
    default:
      return undefined;
  }
}

/** The number of a page that the device may take away. */
export function balloonPage({ arena }: CheckContext): Uint8Array {
  const at = arena.take(4096, 4096);
  arena.lend(at, 4096);
  return u32(arena.address(at) / 4096);
}
