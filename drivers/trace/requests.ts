import {
  blkRequestName,
  BlkRequestType,
  BlkStatus,
  CONSOLE_CONTROL,
  ConsoleEvent,
  ConsoleQueue,
  CryptoControl,
  CryptoOperation,
  CryptoService,
  DeviceId,
  Feature,
  type FeatureSet,
  GpuCommand,
  GpuResponse,
  NET_HDR,
  NET_HDR_LEGACY_SIZE,
  NetAck,
  NetCtrl,
  NetFeature,
  P9Type,
  RPMSG_HDR,
  RPMSG_NS_ADDRESS,
  ScsiCommand,
  ScsiQueue,
  ScsiResponse,
  ScsiStatus,
  VSOCK_HDR,
  VsockOp,
  VsockQueue,
} from "@vireo/hal";
import { describeFrame } from "./frames.ts";

/** Which queue of which device. */
export interface QueuePlace {
  /** Virtio device id. */
  readonly deviceId: number;
  /** Features that were negotiated. */
  readonly features: FeatureSet;
  /** Index of the queue. */
  readonly queue: number;
  /** Name of the queue. */
  readonly name: string;
}

/** Bytes that the driver wrote for the device. */
export interface RequestBytes extends QueuePlace {
  /** The first bytes that the device reads. */
  readonly bytes: Uint8Array;
  /** How many bytes the device reads. */
  readonly readable: number;
  /** How many bytes the device writes. */
  readonly writable: number;
}

/** Bytes that the device wrote for the driver. */
export interface AnswerBytes extends QueuePlace {
  /** Request that was asked; undefined where nothing was. */
  readonly request: string | undefined;
  /** The first bytes that the device wrote. */
  readonly bytes: Uint8Array;
  /** How many it says it wrote. */
  readonly length: number;
  /** The last byte that it could write. */
  readonly last: number | undefined;
}

/**
 * Says what the driver asks for, in the device's words; undefined where a buffer is only room.
 *
 * @example
 * ```ts
 * import { describeRequest } from "@vireo/drivers/trace";
 * import { DeviceId, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const place = { deviceId: DeviceId.RNG, features: FeatureSet.NONE, queue: 0, name: "input" };
 * const bytes = new Uint8Array(0);
 * assertEquals(describeRequest({ ...place, bytes, readable: 0, writable: 64 }), "rng 64 bytes");
 * ```
 */
export function describeRequest(request: RequestBytes): string | undefined {
  const { bytes } = request;
  const view = viewOf(bytes);
  switch (request.deviceId) {
    case DeviceId.BLOCK:
      return bytes.length < 16 ? undefined : blk(view, request);
    case DeviceId.NET:
      return net(view, request);
    case DeviceId.CONSOLE:
      return consoleBytes(request.queue, bytes, request.readable);
    case DeviceId.RNG:
      return `rng ${bytesText(request.writable)}`;
    case DeviceId.SCSI:
      return scsi(view, request);
    case DeviceId.NINE_P:
      return bytes.length < 7 ? undefined : p9(view, "T");
    case DeviceId.GPU:
      return bytes.length < 24 ? undefined : `gpu ${nameOf(GpuCommand, view.getUint32(0, true))}`;
    case DeviceId.VSOCK:
      return request.queue === VsockQueue.TRANSMIT ? vsock(view) : undefined;
    case DeviceId.CRYPTO:
      return bytes.length < 16 ? undefined : crypto(view);
    case DeviceId.BALLOON:
      return request.readable === 0
        ? undefined
        : `balloon ${request.name}, ${bytesText(request.readable)}`;
    case DeviceId.RPMSG:
      return rpmsg(view, request.readable);
    default:
      return request.readable === 0 ? undefined : `${bytesText(request.readable)} to the device`;
  }
}

/**
 * Says what the device answered, in its own words; undefined where it only returned room.
 *
 * @example
 * ```ts
 * import { describeAnswer } from "@vireo/drivers/trace";
 * import { BlkStatus, DeviceId, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const place = { deviceId: DeviceId.BLOCK, features: FeatureSet.NONE, queue: 0, name: "req.0" };
 * const answer = { bytes: new Uint8Array(0), length: 1, last: BlkStatus.IOERR };
 * assertEquals(describeAnswer({ ...place, ...answer, request: "blk FLUSH" }), "blk FLUSH: IOERR");
 * ```
 */
export function describeAnswer(answer: AnswerBytes): string | undefined {
  const { bytes, request, last, queue } = answer;
  const view = viewOf(bytes);
  switch (answer.deviceId) {
    case DeviceId.BLOCK:
      return request && `${request}: ${nameOf(BlkStatus, last ?? -1)}`;
    case DeviceId.NET:
      if (request !== undefined) {
        return isControl(answer) ? `${request}: ${nameOf(NetAck, last ?? -1)}` : `${request}: sent`;
      }
      return `net ${describeFrame(bytes.subarray(headerSize(answer.features)))}`;
    case DeviceId.CONSOLE:
      return request === undefined
        ? consoleBytes(queue, bytes, answer.length)
        : `${request}: taken`;
    case DeviceId.RNG:
      return `rng gave ${bytesText(answer.length)}`;
    case DeviceId.SCSI:
      return scsiAnswer(view, answer);
    case DeviceId.NINE_P:
      return bytes.length < 7 ? undefined : p9(view, "R");
    case DeviceId.GPU:
      return request &&
        (bytes.length < 4
          ? request
          : `${request}: ${nameOf(GpuResponse, view.getUint32(0, true))}`);
    case DeviceId.VSOCK:
      return queue === VsockQueue.RECEIVE ? vsock(view) : request && `${request}: sent`;
    case DeviceId.RPMSG:
      return request === undefined ? rpmsg(view, answer.length) : `${request}: sent`;
    default:
      return request && `${request}: ${bytesText(answer.length)} back`;
  }
}

/**
 * The Ethernet frame in a buffer of a network device, or the packet in one of a socket device.
 *
 * @param way Whether the driver sent the buffer, or received it.
 * @param bytes The whole of what that side wrote.
 */
export function frameOf(
  place: QueuePlace,
  way: "sent" | "received",
  bytes: () => Uint8Array,
): Uint8Array | undefined {
  if (place.deviceId === DeviceId.VSOCK) {
    const queue = way === "sent" ? VsockQueue.TRANSMIT : VsockQueue.RECEIVE;
    const packet = place.queue === queue ? bytes() : undefined;
    return packet !== undefined && packet.length >= VSOCK_HDR.SIZE ? packet : undefined;
  }
  const queue = way === "sent" ? "output" : "input";
  if (place.deviceId !== DeviceId.NET || !place.name.startsWith(queue)) return undefined;
  const all = bytes();
  const header = headerSize(place.features);
  return all.length > header ? all.subarray(header) : undefined;
}

function blk(view: DataView, { readable, writable }: RequestBytes): string {
  const type = view.getUint32(0, true);
  const name = blkRequestName(type);
  const high = view.getUint32(12, true);
  // A big integer costs more than the rest.
  const sector = high === 0 ? view.getUint32(8, true) : view.getBigUint64(8, true);
  const bytes = type === BlkRequestType.OUT ? readable - 16 : writable - 1;
  if (type === BlkRequestType.IN || type === BlkRequestType.OUT) {
    const verb = type === BlkRequestType.IN ? "READ" : "WRITE";
    return `blk ${verb} sector ${sector} ${bytes / 512} sectors`;
  }
  if (readable < 32) return `blk ${name}`;
  return `blk ${name} sector ${view.getBigUint64(16, true)} ${view.getUint32(24, true)} sectors`;
}

function isControl({ name }: QueuePlace): boolean {
  return name === "control";
}

function net(view: DataView, request: RequestBytes): string | undefined {
  if (request.readable === 0) return undefined;
  if (isControl(request)) {
    return `net control ${nameOf(NetCtrl, view.getUint8(0))} command ${view.getUint8(1)}`;
  }
  return `net ${describeFrame(request.bytes.subarray(headerSize(request.features)))}`;
}

/** Bytes before a frame (virtio 1.4 §5.1.6). */
function headerSize(features: FeatureSet): number {
  const long = features.has(Feature.VERSION_1) || features.has(NetFeature.MRG_RXBUF);
  return long ? NET_HDR.SIZE : NET_HDR_LEGACY_SIZE;
}

function consoleBytes(queue: number, bytes: Uint8Array, length: number): string | undefined {
  if (length === 0) return undefined;
  const control = queue === ConsoleQueue.CONTROL_RECEIVE || queue === ConsoleQueue.CONTROL_TRANSMIT;
  if (!control || bytes.length < CONSOLE_CONTROL.SIZE) return `console ${bytesText(length)}`;
  const view = viewOf(bytes);
  const event = nameOf(ConsoleEvent, view.getUint16(CONSOLE_CONTROL.event.offset, true));
  const port = view.getUint32(CONSOLE_CONTROL.id.offset, true);
  const text = `console ${event} port ${port} value ${
    view.getUint16(CONSOLE_CONTROL.value.offset, true)
  }`;
  if (event !== "PORT_NAME") return text;
  return `${text} '${new TextDecoder().decode(bytes.subarray(CONSOLE_CONTROL.SIZE))}'`;
}

function scsi(view: DataView, { queue, readable }: RequestBytes): string | undefined {
  if (readable === 0) return undefined;
  if (queue < ScsiQueue.REQUEST) return `scsi control, ${bytesText(readable)}`;
  if (view.byteLength < 51) return undefined;
  const [at, code] = [19, view.getUint8(19)];
  const lun = `${view.getUint8(1)}:${view.getUint16(2) & 0x3fff}`;
  const text = `scsi ${nameOf(ScsiCommand, code)} lun ${lun}`;
  switch (code) {
    case ScsiCommand.READ_10:
    case ScsiCommand.WRITE_10:
      return `${text} block ${view.getUint32(at + 2)} ${view.getUint16(at + 7)} blocks`;
    case ScsiCommand.READ_16:
    case ScsiCommand.WRITE_16:
      return `${text} block ${view.getBigUint64(at + 2)} ${view.getUint32(at + 10)} blocks`;
    default:
      return text;
  }
}

function scsiAnswer(view: DataView, { queue, request, length }: AnswerBytes): string | undefined {
  if (queue < ScsiQueue.REQUEST || request === undefined || view.byteLength < 12) {
    return request ?? (length > 0 ? `scsi event, ${bytesText(length)}` : undefined);
  }
  const response = nameOf(ScsiResponse, view.getUint8(11));
  return `${request}: ${response}, ${nameOf(ScsiStatus, view.getUint8(10))}`;
}

function p9(view: DataView, letter: "T" | "R"): string {
  const type = view.getUint8(4);
  const name = nameOf(P9Type, letter === "T" ? type : type - 1).toLowerCase();
  const tag = view.getUint16(5, true);
  const bytes = bytesText(view.getUint32(0, true));
  return `9p ${letter}${name} tag ${tag} ${bytes}`;
}

function vsock(view: DataView): string | undefined {
  if (view.byteLength < VSOCK_HDR.SIZE) return undefined;
  const cid = (at: number): bigint => view.getBigUint64(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const op = nameOf(VsockOp, view.getUint16(VSOCK_HDR.op.offset, true));
  const source = `${cid(VSOCK_HDR.src_cid.offset)}:${u32(VSOCK_HDR.src_port.offset)}`;
  const target = `${cid(VSOCK_HDR.dst_cid.offset)}:${u32(VSOCK_HDR.dst_port.offset)}`;
  return `vsock ${op} ${source} > ${target} ${bytesText(u32(VSOCK_HDR.len.offset))}`;
}

function crypto(view: DataView): string {
  const opcode = view.getUint32(0, true);
  const service = nameOf(CryptoService, opcode >>> 8);
  const operation = Object.entries({ ...CryptoControl, ...CryptoOperation })
    .find(([, value]) => value === (opcode & 0xff))?.[0] ?? String(opcode & 0xff);
  return `crypto ${service} ${operation}`;
}

function rpmsg(view: DataView, length: number): string | undefined {
  if (length < RPMSG_HDR.SIZE || view.byteLength < RPMSG_HDR.SIZE) return undefined;
  const u32 = (at: number): number => view.getUint32(at, true);
  const target = u32(RPMSG_HDR.dst.offset);
  const what = target === RPMSG_NS_ADDRESS ? "announcement" : "message";
  const bytes = bytesText(view.getUint16(RPMSG_HDR.len.offset, true));
  return `rpmsg ${what} ${u32(RPMSG_HDR.src.offset)} > ${target} ${bytes}`;
}

function bytesText(count: number): string {
  return count === 1 ? "1 byte" : `${count} bytes`;
}

/** The name that a table has for a number, or the number. */
function nameOf(table: Readonly<Record<string, number>>, value: number): string {
  let names = NAMES.get(table);
  if (names === undefined) {
    // The first name of a value stays.
    const pairs = Object.entries(table).map(([name, each]) => [each, name] as const).reverse();
    NAMES.set(table, names = new Map(pairs));
  }
  return names.get(value) ?? `${value}`;
}

/** The names of tables by their numbers: a request is named for every event. */
const NAMES = new WeakMap<Readonly<Record<string, number>>, ReadonlyMap<number, string>>();

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
