// Requests and answers by their bytes, cut off at each length: the words never say more than is there.
import { assertEquals } from "@std/assert";
import { DeviceId, Feature, FeatureSet, joinBytes, NetFeature } from "@vireo/hal";
import { type AnswerBytes, describeAnswer, describeRequest, frameOf } from "./requests.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const u8 = (...values: readonly number[]): Bytes => Uint8Array.from(values);
const u16 = (...values: readonly number[]): Bytes =>
  u8(...values.flatMap((value) => [value & 0xff, value >> 8]));
const u32s = (...values: readonly number[]): Bytes =>
  new Uint8Array(Uint32Array.from(values).buffer);
const u64 = (...values: readonly number[]): Bytes =>
  u32s(...values.flatMap((value) => [value >>> 0, Math.floor(value / 2 ** 32)]));
const zeroes = (count: number): Bytes => new Uint8Array(count);
const modern = FeatureSet.of(Feature.VERSION_1);

/** Texts by the number of bytes from which on they are told; undefined before the first. */
type Steps = readonly (readonly [from: number, text: string | undefined])[];

function textAt(length: number, steps: Steps): string | undefined {
  return steps.findLast(([from]) => from <= length)?.[1];
}

interface Place {
  readonly queue?: number;
  readonly name?: string;
  readonly features?: FeatureSet;
  readonly readable?: number;
  readonly writable?: number;
}

/** Checks the words of a request of which the first 0, 1, 2, ... bytes are seen. */
function asks(deviceId: number, bytes: Bytes, steps: Steps, place: Place = {}): void {
  for (let length = 0; length <= bytes.length; length++) {
    const text = describeRequest({
      ...{ queue: 0, name: "requests", features: modern, readable: bytes.length, writable: 0 },
      ...place,
      deviceId,
      bytes: bytes.subarray(0, length),
    });
    assertEquals(text, textAt(length, steps), `${length} of ${bytes.length} bytes`);
  }
}

/** Checks the words of an answer of which the first 0, 1, 2, ... bytes are seen. */
function answers(
  deviceId: number,
  bytes: Bytes,
  steps: Steps,
  place: Partial<AnswerBytes> = {},
): void {
  for (let length = 0; length <= bytes.length; length++) {
    const text = describeAnswer({
      ...{ queue: 0, name: "requests", features: modern, request: undefined, last: undefined },
      ...{ length: bytes.length },
      ...place,
      deviceId,
      bytes: bytes.subarray(0, length),
    });
    assertEquals(text, textAt(length, steps), `${length} of ${bytes.length} bytes`);
  }
}

Deno.test("words: blk: sectors of 512 bytes, beyond 32 bits too, and ranges", () => {
  const header = (type: number, sector: number): Bytes => joinBytes(u32s(type, 0), u64(sector));
  asks(2, header(0, 7), [[16, "blk READ sector 7 4 sectors"]], { writable: 2049 });
  asks(2, header(0, 2 ** 32 + 7), [[16, "blk READ sector 4294967303 1 sectors"]], {
    writable: 513,
  });
  asks(2, header(1, 9), [[16, "blk WRITE sector 9 2 sectors"]], { readable: 1040, writable: 1 });
  asks(2, header(15, 9), [[16, "blk ZONE_APPEND zone at 9 1 sectors"]], { readable: 528 });
  asks(2, header(16, 9), [[16, "blk ZONE_REPORT zone at 9"]]);
  asks(2, joinBytes(header(11, 0), u64(5), u32s(8, 0)), [
    [16, "blk DISCARD"],
    [32, "blk DISCARD sector 5 8 sectors"],
  ]);
  asks(2, joinBytes(header(4, 0), zeroes(16)), [[16, "blk FLUSH"]], { readable: 31 });
});

Deno.test("words: blk: answers with their status, where was appended, and how many zones", () => {
  const told = (request: string, last: number | undefined, steps: Steps): void =>
    answers(2, u64(3), steps, { request, last });
  told("blk FLUSH", undefined, [[0, "blk FLUSH: no status"]]);
  told("blk FLUSH", 0, [[0, "blk FLUSH: OK"]]);
  told("blk ZONE_APPEND zone at 0", 0, [
    [0, "blk ZONE_APPEND zone at 0: OK"],
    [8, "blk ZONE_APPEND zone at 0: OK, at sector 3"],
  ]);
  told("blk ZONE_APPEND zone at 0", 1, [[0, "blk ZONE_APPEND zone at 0: IOERR"]]);
  told("blk ZONE_REPORT zone at 0", 0, [
    [0, "blk ZONE_REPORT zone at 0: OK"],
    [8, "blk ZONE_REPORT zone at 0: OK, 3 zones"],
  ]);
  answers(2, u8(0), []);
});

Deno.test("words: console: bytes of ports, and events of the control queues", () => {
  const event = (id: number, type: number, value: number, ...rest: Bytes[]): Bytes =>
    joinBytes(u32s(id), u16(type, value), ...rest);
  for (const queue of [0, 1, 4]) asks(3, u8(1, 2), [[0, "console 2 bytes"]], { queue });
  asks(3, u8(), [], { queue: 1 });
  for (const queue of [2, 3]) {
    const resize = event(1, 5, 0, u16(80, 25));
    asks(3, resize, [
      [0, "console 12 bytes"],
      [8, "console RESIZE port 1 value 0"],
      [12, "console RESIZE port 1 value 0 80x25"],
    ], { queue });
  }
  asks(3, event(1, 7, 1, u8(97, 98, 0)), [
    [0, "console 11 bytes"],
    [8, "console PORT_NAME port 1 value 1 ''"],
    [9, "console PORT_NAME port 1 value 1 'a'"],
    [10, "console PORT_NAME port 1 value 1 'ab'"],
  ], { queue: 3 });
  asks(3, event(0xffff_ffff, 0, 1), [[0, "console 8 bytes"], [8, "console DEVICE_READY value 1"]], {
    queue: 3,
  });
  answers(3, u8(1), [[0, "console 1 byte"]]);
  answers(3, u8(), [[0, "console 1 byte: taken"]], { request: "console 1 byte" });
  asks(11, u8(1), [[0, "rproc serial 1 byte"]]);
  answers(11, u8(1), [[0, "rproc serial 1 byte"]]);
  answers(11, u8(), []);
});

Deno.test("words: crypto: sessions, chains, and operations with or without a session", () => {
  const control = (opcode: number, ...rest: Bytes[]): Bytes =>
    joinBytes(u32s(opcode, 3, 0, 0), ...rest);
  asks(20, control(0x002, zeroes(48), u32s(2)), [
    [16, "crypto CIPHER CREATE AES_CBC"],
    [68, "crypto CIPHER CREATE AES_CBC chained with a hash"],
  ]);
  asks(20, control(0x002, zeroes(48), u32s(1)), [[16, "crypto CIPHER CREATE AES_CBC"]]);
  asks(20, control(0x102, zeroes(48), u32s(2)), [[16, "crypto HASH CREATE SHA_224"]]);
  asks(20, control(0x404), [[16, "crypto AKCIPHER CREATE 0x3"]]);
  for (const [opcode, service] of [[0x003, "CIPHER"], [0x405, "AKCIPHER"]] as const) {
    asks(20, control(opcode, u64(2 ** 33)), [
      [16, `crypto ${service} DESTROY`],
      [24, `crypto ${service} DESTROY session 8589934592`],
    ]);
  }
  const data = (opcode: number, flag: number): Bytes =>
    joinBytes(u32s(opcode, 3), u64(5), u32s(flag, 0));
  asks(20, data(0x001, 0), [
    [16, "crypto CIPHER DECRYPT"],
    [24, "crypto CIPHER DECRYPT session 5, 24 bytes"],
  ]);
  asks(20, data(0x100, 0), [[16, "crypto HASH"], [24, "crypto HASH session 5, 24 bytes"]]);
  asks(20, data(0x200, 0), [[16, "crypto MAC"], [24, "crypto MAC session 5, 24 bytes"]]);
  asks(20, data(0x101, 0), [
    [16, "crypto HASH DECRYPT"],
    [24, "crypto HASH DECRYPT session 5, 24 bytes"],
  ]);
  asks(20, data(0x300, 0), [
    [16, "crypto AEAD ENCRYPT"],
    [24, "crypto AEAD ENCRYPT session 5, 24 bytes"],
  ]);
  // CIPHER_STATELESS_MODE is bit 1 (virtio 1.4 §5.9.3).
  const features = FeatureSet.of(Feature.VERSION_1, 1);
  const alone = "crypto CIPHER ENCRYPT AES_CBC without a session, 24 bytes";
  asks(20, data(0, 0), [[16, "crypto CIPHER ENCRYPT"], [24, alone]], { features });
  asks(20, data(0, 1), [
    [16, "crypto CIPHER ENCRYPT"],
    [24, "crypto CIPHER ENCRYPT session 5, 24 bytes"],
  ], { features });
});

Deno.test("words: crypto: answers with their status, and the session that was made", () => {
  const request = "crypto CIPHER CREATE AES_CBC";
  answers(20, joinBytes(u64(7), u32s(0, 0)), [
    [0, `${request}: no status`],
    [16, `${request}: OK, session 7`],
  ], { request });
  answers(20, joinBytes(u64(7), u32s(3, 0)), [[0, `${request}: OK`], [16, `${request}: NOTSUPP`]], {
    request,
    last: 0,
  });
  answers(20, zeroes(16), [[0, "crypto HASH session 1, 5 bytes: ERR"]], {
    request: "crypto HASH session 1, 5 bytes",
    last: 1,
  });
  answers(20, zeroes(16), []);
});

Deno.test("words: gpu: fields where the command is whole, the fence, and the response", () => {
  const command = (type: number, fields: Bytes, flags = 0): Bytes =>
    joinBytes(u32s(type, flags), u64(9), u32s(0, 0), fields);
  const told = (type: number, name: string, fields: Bytes, text: string): void =>
    asks(16, command(type, fields), [
      [24, `gpu ${name}`],
      [24 + fields.length, `gpu ${name}${text}`],
    ]);
  told(0x101, "RESOURCE_CREATE_2D", u32s(1, 2, 64, 48), " resource 1 B8G8R8X8 64x48");
  told(0x102, "RESOURCE_UNREF", u32s(1), " resource 1");
  told(0x103, "SET_SCANOUT", u32s(1, 2, 3, 4, 5, 6), " scanout 5 resource 6 3x4+1+2");
  told(0x104, "RESOURCE_FLUSH", u32s(1, 2, 3, 4, 5), " resource 5 3x4+1+2");
  told(
    0x105,
    "TRANSFER_TO_HOST_2D",
    joinBytes(u32s(1, 2, 3, 4), u64(2 ** 32), u32s(8)),
    " resource 8 3x4+1+2 from byte 4294967296",
  );
  told(0x106, "RESOURCE_ATTACH_BACKING", u32s(1, 1), " resource 1 1 range");
  told(0x107, "RESOURCE_DETACH_BACKING", u32s(1), " resource 1");
  told(0x10a, "GET_EDID", u32s(3), " scanout 3");
  told(0x10b, "RESOURCE_ASSIGN_UUID", u32s(3), " resource 3");
  told(
    0x10c,
    "RESOURCE_CREATE_BLOB",
    u32s(1, 1, 0, 2, 0, 0, 4096, 0),
    " resource 1 GUEST 2 ranges, 4096 bytes",
  );
  told(
    0x10d,
    "SET_SCANOUT_BLOB",
    u32s(0, 0, 0, 0, 5, 6, 64, 48, 1),
    " scanout 5 resource 6 B8G8R8A8 64x48",
  );
  told(
    0x300,
    "UPDATE_CURSOR",
    u32s(1, 2, 3, 0, 4, 5, 6),
    " scanout 1 resource 4 at 2,3 hot spot 5,6",
  );
  told(0x301, "MOVE_CURSOR", u32s(1, 2, 3, 0, 4, 5, 6), " scanout 1 at 2,3");
  asks(16, command(0x100, u8(), 1), [[24, "gpu GET_DISPLAY_INFO fence 9"]]);
  answers(16, u32s(0x1100), [[0, "gpu X"], [4, "gpu X: OK_NODATA"]], { request: "gpu X" });
  answers(16, u32s(0x1100), []);
});

Deno.test("words: net: control commands as far as their data goes", () => {
  const told = (type: number, code: number, fields: Bytes, name: string, ...steps: Steps): void =>
    asks(1, joinBytes(u8(type, code), fields), [
      [0, "net control"],
      [2, `net control ${name}`],
      ...steps.map(([from, text]) => [2 + from, `net control ${name} ${text}`] as const),
    ], { name: "control" });
  told(0, 0, u8(1), "RX PROMISC", [1, "on"]);
  told(0, 1, u8(0), "RX ALLMULTI", [1, "off"]);
  told(1, 1, u8(1, 2, 3, 4, 5, 255), "MAC ADDR_SET", [6, "01:02:03:04:05:ff"]);
  told(
    1,
    0,
    joinBytes(u32s(1), zeroes(6), u32s(2)),
    "MAC TABLE_SET",
    [4, "1 unicast"],
    [14, "1 unicast and 2 multicast"],
  );
  told(2, 0, u16(4094), "VLAN ADD", [2, "4094"]);
  told(3, 0, u8(), "ANNOUNCE ACK");
  told(4, 0, u16(3), "MQ VQ_PAIRS_SET", [2, "3"]);
  const rss = (types: number, mask: number, queues: number): Bytes =>
    joinBytes(u32s(types), u16(mask, 4), zeroes(2 * (mask + 1)), u16(queues));
  told(
    4,
    1,
    rss(3, 1, 2),
    "MQ RSS_CONFIG",
    [8, "IPV4|TCPV4, table of 2, else queue 4"],
    [14, "IPV4|TCPV4, table of 2, else queue 4, 2 transmit queues"],
  );
  told(4, 2, rss(0, 0, 0), "MQ HASH_CONFIG", [8, "no hash"]);
  told(5, 0, u32s(2, 1 << 22), "GUEST_OFFLOADS SET", [8, "GUEST_CSUM|GUEST_USO4"]);
  told(5, 0, u64(0), "GUEST_OFFLOADS SET", [8, "none"]);
  told(6, 0, u32s(1, 50), "NOTF_COAL TX_SET", [8, "1 packet 50 us"]);
  told(6, 1, u32s(2, 50), "NOTF_COAL RX_SET", [8, "2 packets 50 us"]);
  told(
    6,
    2,
    joinBytes(u16(3, 0), u32s(2, 50)),
    "NOTF_COAL VQ_SET",
    [4, "queue 3"],
    [12, "queue 3 2 packets 50 us"],
  );
  told(9, 1, u8(1), "0x9 0x1");
});

Deno.test("words: net: acks, what VQ_GET answers, and frames behind the header", () => {
  const place = { name: "control", request: "net control NOTF_COAL VQ_GET queue 3" };
  answers(1, joinBytes(u8(0), u32s(2, 50)), [
    [0, `${place.request}: no ack`],
    [1, `${place.request}: OK`],
    [9, `${place.request}: OK, 2 packets 50 us`],
  ], place);
  answers(1, joinBytes(u8(1), u32s(2, 50)), [
    [0, `${place.request}: no ack`],
    [1, `${place.request}: ERR`],
  ], place);
  answers(1, zeroes(9), [[0, "net control RX: ERR"]], {
    ...place,
    request: "net control RX",
    last: 1,
  });
  answers(1, u8(), [[0, "net ARP: sent"]], { name: "output.0", request: "net ARP" });
  asks(1, zeroes(20), [], { name: "input.0", readable: 0 });
  for (const [features, header] of [[FeatureSet.NONE, 10], [modern, 12]] as const) {
    const packet = zeroes(header + 14);
    const text = (length: number): string => `net frame of ${length} bytes`;
    const steps: Steps = [
      ...Array.from({ length: 14 }, (_, i) => [i === 0 ? 0 : header + i, text(i)] as const),
      [header + 14, "net frame of type 0x0000"],
    ];
    asks(1, packet, steps, { features, name: "output.0" });
    answers(1, packet, steps, { features, name: "input.0" });
  }
});

Deno.test("words: balloon: pages, statistics, and commands of free page hints", () => {
  asks(5, zeroes(8), [[0, "balloon inflate 2 pages"]], { name: "inflate" });
  asks(5, zeroes(4), [[0, "balloon deflate 1 page"]], { name: "deflate" });
  asks(5, joinBytes(u16(4), u64(2 ** 33), u16(20), u64(1)), [
    [0, "balloon stats"],
    [10, "balloon stats FREE 8589934592"],
    [20, "balloon stats FREE 8589934592 0x14 1"],
  ], { name: "stats" });
  asks(5, u8(), [], { name: "stats" });
  asks(5, u8(), [[0, "balloon reporting 4096 bytes"]], { name: "reporting", writable: 4096 });
  for (const [command, text] of [[0, "STOP"], [1, "DONE"], [2, "round 2"]] as const) {
    asks(5, u32s(command), [[0, "balloon hint"], [4, `balloon hint ${text}`]], { name: "hint" });
  }
  answers(5, u8(), [[0, "balloon hint: taken"]], { request: "balloon hint" });
});

Deno.test("words: rng, input, rpmsg and caif", () => {
  asks(4, u8(), [[0, "rng 1 byte"]], { writable: 1 });
  answers(4, u8(1, 2), [[0, "rng gave 2 bytes"]]);
  answers(18, joinBytes(u16(1, 30), u32s(0xffff_ffff)), [[8, "input KEY code 30 value -1"]]);
  asks(18, joinBytes(u16(0, 0), u32s(0)), [[8, "input SYN REPORT"]]);
  asks(18, zeroes(8), [], { readable: 0 });
  answers(18, u8(), [[0, "input LED: taken"]], { request: "input LED" });
  const header = (target: number, length: number): Bytes =>
    joinBytes(u32s(1024, target, 0), u16(length, 0));
  asks(7, joinBytes(header(53, 40), u8(97, 0), zeroes(30), u32s(9, 0)), [
    [16, "rpmsg message 1024 > 53 40 bytes"],
    [56, "rpmsg name CREATE 'a' at 9"],
  ]);
  asks(7, header(54, 1), [[16, "rpmsg message 1024 > 54 1 byte"]]);
  answers(7, header(54, 1), [], { length: 15 });
  answers(7, header(54, 1), [[16, "rpmsg message 1024 > 54 1 byte"]]);
  answers(7, u8(), [[0, "rpmsg: sent"]], { request: "rpmsg" });
  asks(12, u8(1), [[0, "caif frame in 1 byte"]]);
  for (const [queue, text] of [[1, "received"], [0, "sent"]] as const) {
    answers(12, u8(), [[0, `caif: ${text}`]], { queue, request: "caif" });
  }
});

Deno.test("words: 9p: fields as far as the message goes", () => {
  const message = (type: number, ...fields: Bytes[]): Bytes => {
    const rest = joinBytes(u8(type), u16(5), ...fields);
    return joinBytes(u32s(4 + rest.length), rest);
  };
  const name = (text: string): Bytes => joinBytes(u16(text.length), new TextEncoder().encode(text));
  asks(9, message(100, u32s(8192), name("9P")), [
    [7, "9p Tversion tag 5"],
    [11, "9p Tversion tag 5 msize 8192"],
    [15, "9p Tversion tag 5 msize 8192 '9P'"],
  ]);
  asks(9, message(110, u32s(1, 0xffff_ffff), u16(2), name("a"), name("b")), [
    [7, "9p Twalk tag 5"],
    [11, "9p Twalk tag 5 fid 1"],
    [15, "9p Twalk tag 5 fid 1 to fid none"],
    [20, "9p Twalk tag 5 fid 1 to fid none 'a'"],
    [23, "9p Twalk tag 5 fid 1 to fid none 'a'/'b'"],
  ]);
  asks(9, message(110, u32s(1, 2), u16(1), name("a"), name("b")), [
    [7, "9p Twalk tag 5"],
    [11, "9p Twalk tag 5 fid 1"],
    [15, "9p Twalk tag 5 fid 1 to fid 2"],
    [20, "9p Twalk tag 5 fid 1 to fid 2 'a'"],
  ]);
  asks(9, message(108, u16(300)), [[7, "9p Tflush tag 5"], [9, "9p Tflush tag 5 old tag 300"]]);
  asks(9, message(24, u32s(1), u64(2 ** 32)), [
    [7, "9p Tgetattr tag 5"],
    [11, "9p Tgetattr tag 5 fid 1"],
    [19, "9p Tgetattr tag 5 fid 1 mask 4294967296"],
  ]);
  asks(9, message(52, u32s(1), u8(1), u32s(1)), [
    [7, "9p Tlock tag 5"],
    [11, "9p Tlock tag 5 fid 1"],
    [12, "9p Tlock tag 5 fid 1 WRITE"],
    [16, "9p Tlock tag 5 fid 1 WRITE BLOCK"],
  ]);
  asks(9, message(76, u32s(1), name("x"), u32s(0o755)), [
    [7, "9p Tunlinkat tag 5"],
    [11, "9p Tunlinkat tag 5 fid 1"],
    [14, "9p Tunlinkat tag 5 fid 1 'x'"],
    [18, "9p Tunlinkat tag 5 fid 1 'x' flags 0o755"],
  ]);
  for (
    const [flags, text] of [[0, "READ"], [2, "READ_WRITE"], [0o1001, "WRITE|TRUNCATE"]] as const
  ) {
    asks(9, message(12, u32s(1, flags)), [
      [7, "9p Tlopen tag 5"],
      [11, "9p Tlopen tag 5 fid 1"],
      [15, `9p Tlopen tag 5 fid 1 ${text}`],
    ]);
  }
  // A type without a name: its size is all that there is to say.
  asks(9, message(200, u32s(0)), [[7, "9p T0xc8 tag 5 11 bytes"]]);
  answers(9, message(201), [[7, "9p R0xc8 tag 5"]]);
  answers(9, message(7, u32s(2)), [[7, "9p Rlerror tag 5"], [11, "9p Rlerror tag 5 ENOENT"]]);
  answers(9, message(111, u16(1)), [[7, "9p Rwalk tag 5"], [9, "9p Rwalk tag 5 qids 1"]]);
  answers(9, message(53, u8(1)), [[7, "9p Rlock tag 5"], [8, "9p Rlock tag 5 BLOCKED"]]);
});

/** A SCSI request: LUN 2 of target 1, and a command of 32 bytes. */
function scsi(cdb: readonly number[], data: Bytes = u8()): Bytes {
  return joinBytes(u8(1, 1, 0x40, 2), zeroes(15), u8(...cdb), zeroes(32 - cdb.length), data);
}

Deno.test("words: scsi: the blocks of each command", () => {
  const told = (cdb: readonly number[], text: string): void =>
    asks(8, scsi(cdb), [[35, `scsi ${text}`]], { queue: 2 });
  told([0x08, 0xff, 2, 3, 4], "READ_6 lun 1:2 block 2032131 4 blocks");
  told([0x0a, 0, 0, 1, 0], "WRITE_6 lun 1:2 block 1 256 blocks");
  told([0x28, 0, 0, 0, 0, 7, 0, 1, 2], "READ_10 lun 1:2 block 7 258 blocks");
  told([0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 1], "READ_12 lun 1:2 block 7 1 block");
  const wide = [0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 3];
  told([0x88, ...wide], "READ_16 lun 1:2 block 4294967303 3 blocks");
  told([0x93, ...wide], "WRITE_SAME_16 lun 1:2 block 4294967303 3 blocks");
  told([0x12, 0, 0x80], "INQUIRY lun 1:2");
  told([0x12, 1, 0x80], "INQUIRY lun 1:2 page 0x80");
  told([0x12, 1, 0x5], "INQUIRY lun 1:2 page 0x05");
  told([0x1a, 0, 0xc8], "MODE_SENSE_6 lun 1:2 page 0x08");
  told([0x9e, 0x10], "READ_CAPACITY_16 lun 1:2");
  told([0x9e, 0x30], "READ_CAPACITY_16 lun 1:2");
  told([0x9e, 0x11], "SERVICE_ACTION_IN_16 lun 1:2");
  told([0x25, 0x10], "READ_CAPACITY_10 lun 1:2");
  asks(8, scsi([0x28]), [], { queue: 2, readable: 0 });
});

Deno.test("words: scsi: an unmapped range, and how many there are", () => {
  const range = (first: number, count: number): Bytes =>
    u8(0, 0, 0, 0, 0, 0, 0, first, 0, 0, 0, count, 0, 0, 0, 0);
  const unmap = [0x42, 0, 0, 0, 0, 0, 0, 0, 24];
  asks(8, scsi(unmap, joinBytes(u8(0, 22, 0, 16), zeroes(4), range(5, 8))), [
    [35, "scsi UNMAP lun 1:2 list of 24 bytes"],
    [71, "scsi UNMAP lun 1:2 block 5 8 blocks"],
  ], { queue: 2 });
  const two = joinBytes(u8(0, 38, 0, 32), zeroes(4), range(5, 1), range(9, 1));
  asks(8, scsi(unmap, two), [
    [35, "scsi UNMAP lun 1:2 list of 24 bytes"],
    [71, "scsi UNMAP lun 1:2 block 5 1 block, the first of 2 ranges"],
  ], { queue: 2 });
});

Deno.test("words: scsi: answers with sense data in fixed format, whole and long enough", () => {
  const response = (length: number, format: number): Bytes =>
    joinBytes(
      u32s(length, 0),
      u16(0),
      u8(2, 0, format, 0, 0x45, ...zeroes(9), 0x21, 1),
    );
  const place = { queue: 2, request: "scsi READ_10" };
  const checked = "scsi READ_10: OK, CHECK_CONDITION";
  for (const format of [0x70, 0x71, 0xf0]) {
    answers(8, response(14, format), [
      [0, "scsi READ_10"],
      [12, checked],
      [26, `${checked} ILLEGAL REQUEST 0x21/0x01`],
    ], place);
  }
  answers(8, response(13, 0x70), [[0, "scsi READ_10"], [12, checked]], place);
  answers(8, response(14, 0x72), [[0, "scsi READ_10"], [12, checked]], place);
});

Deno.test("words: scsi: task management, and what a target reports", () => {
  const lun = u8(1, 1, 0x40, 2, 0, 0, 0, 0);
  asks(8, joinBytes(u32s(0, 5), lun, u64(1)), [
    [0, "scsi control"],
    [20, "scsi LOGICAL_UNIT_RESET lun 1:2"],
  ]);
  asks(8, joinBytes(u32s(1), lun, zeroes(12)), [
    [0, "scsi control"],
    [20, "scsi AN_QUERY lun 1:2"],
  ]);
  const [queue, request] = [0, "scsi X"];
  answers(8, u8(), [[0, "scsi X: no response"]], { queue, request });
  answers(8, u8(), [[0, "scsi X: FUNCTION_REJECTED"]], { queue: 1, request, last: 11 });
  const event = (type: number, reason: number): Bytes => joinBytes(u32s(type), lun, u32s(reason));
  const told = (type: number, reason: number, text: string): void => {
    const bytes = event(type, reason);
    answers(8, bytes.subarray(0, 0), [], { queue: 1 });
    assertEquals(
      describeAnswer({
        ...{ deviceId: 8, features: modern, queue: 1, name: "event", request: undefined },
        ...{ bytes, length: bytes.length, last: undefined },
      }),
      `scsi event ${text}`,
    );
  };
  told(1, 2, "TRANSPORT_RESET lun 1:2 REMOVED");
  told(3, 0x92a, "PARAM_CHANGE lun 1:2 reason 0x92a");
  told(0x8000_0000, 0, "NONE lun 1:2 reason 0x0, events before it were lost");
});

Deno.test("words: vsock: addresses of 64 bits, kinds of sockets, flags and events", () => {
  const packet = (op: number, type: number, flags: number, cid = 3): Bytes =>
    joinBytes(u64(cid, 2), u32s(1024, 80, 1), u16(type, op), u32s(flags, 0, 0));
  const told = (bytes: Bytes, text: string): void => {
    asks(19, bytes, [[44, `vsock ${text}`]], { queue: 1 });
    answers(19, bytes, [[44, `vsock ${text}`]], { queue: 0 });
  };
  told(packet(5, 1, 0), "RW 3:1024 > 2:80 1 byte");
  told(packet(5, 2, 3), "RW SEQPACKET 3:1024 > 2:80 1 byte EOM|EOR");
  told(packet(4, 1, 3, 2 ** 32 + 3), "SHUTDOWN 4294967299:1024 > 2:80 1 byte RECEIVE|SEND");
  told(packet(5, 1, 5), "RW 3:1024 > 2:80 1 byte EOM|0x4");
  asks(19, packet(5, 1, 0), [], { queue: 0 });
  answers(19, u32s(0), [[4, "vsock event TRANSPORT_RESET"]], { queue: 2 });
  answers(19, u8(), [[0, "vsock RW: sent"]], { queue: 1, request: "vsock RW" });
});

Deno.test("words: a device without words of its own says how many bytes", () => {
  asks(99, u8(1, 2), [[0, "2 bytes to the device"]]);
  asks(99, u8(), []);
  answers(99, u8(1), [[0, "x: 1 byte back"]], { request: "x" });
  answers(99, u8(1), []);
});

Deno.test("frameOf() is what a driver sends behind the header, and packets of sockets both ways", () => {
  const net = { deviceId: DeviceId.NET as number, features: modern, queue: 1, name: "output.0" };
  const bytes = Uint8Array.from({ length: 60 }, (_, i) => i);
  const seen = (place: Partial<typeof net>, way: "sent" | "received", length = 60): unknown =>
    frameOf({ ...net, ...place }, way, () => bytes.subarray(0, length))?.[0];
  assertEquals([12, 13].map((length) => seen({}, "sent", length)), [undefined, 12]);
  assertEquals(frameOf(net, "sent", () => bytes.subarray(0, 12)), undefined);
  assertEquals(seen({ features: modern.with(NetFeature.HASH_REPORT) }, "sent"), 20);
  assertEquals(seen({}, "received"), undefined);
  assertEquals(seen({ name: "control" }, "sent"), undefined);
  assertEquals(seen({ deviceId: DeviceId.RNG }, "sent"), undefined);
  const vsock = { deviceId: DeviceId.VSOCK as number };
  assertEquals([43, 44].map((length) => seen({ ...vsock, queue: 1 }, "sent", length)), [
    undefined,
    0,
  ]);
  assertEquals([0, 1, 2].map((queue) => seen({ ...vsock, queue }, "received")), [
    0,
    undefined,
    undefined,
  ]);
  assertEquals([0, 2].map((queue) => seen({ ...vsock, queue }, "sent")), [undefined, undefined]);
});
