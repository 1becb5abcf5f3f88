import { DeviceId, netHeaderSize, VSOCK_HDR, VsockQueue } from "@vireo/hal";
import { bytesText, viewOf } from "./words/names.ts";
import type { AnswerBytes, DeviceWords, QueuePlace, RequestBytes } from "./words/places.ts";
import { BLK_WORDS } from "./words/blk.ts";
import { CONSOLE_WORDS, RPROC_SERIAL_WORDS } from "./words/console.ts";
import { CRYPTO_WORDS } from "./words/crypto.ts";
import { GPU_WORDS } from "./words/gpu.ts";
import { NET_WORDS } from "./words/net.ts";
import { BALLOON_WORDS, CAIF_WORDS, INPUT_WORDS, RNG_WORDS, RPMSG_WORDS } from "./words/others.ts";
import { P9_WORDS } from "./words/p9.ts";
import { SCSI_WORDS } from "./words/scsi.ts";
import { VSOCK_WORDS } from "./words/vsock.ts";

/** The words of each type of devices. */
const WORDS: Readonly<Record<number, DeviceWords>> = {
  [DeviceId.NET]: NET_WORDS,
  [DeviceId.BLOCK]: BLK_WORDS,
  [DeviceId.CONSOLE]: CONSOLE_WORDS,
  [DeviceId.RNG]: RNG_WORDS,
  [DeviceId.BALLOON]: BALLOON_WORDS,
  [DeviceId.RPMSG]: RPMSG_WORDS,
  [DeviceId.SCSI]: SCSI_WORDS,
  [DeviceId.NINE_P]: P9_WORDS,
  [DeviceId.RPROC_SERIAL]: RPROC_SERIAL_WORDS,
  [DeviceId.CAIF]: CAIF_WORDS,
  [DeviceId.GPU]: GPU_WORDS,
  [DeviceId.INPUT]: INPUT_WORDS,
  [DeviceId.VSOCK]: VSOCK_WORDS,
  [DeviceId.CRYPTO]: CRYPTO_WORDS,
};

/** The words of a device of another type: its user's driver knows more. */
const OTHERS: DeviceWords = {
  request: ({ readable }) => readable === 0 ? undefined : `${bytesText(readable)} to the device`,
  answer: ({ request, length }) => request && `${request}: ${bytesText(length)} back`,
};

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
  return (WORDS[request.deviceId] ?? OTHERS).request(request, viewOf(request.bytes));
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
  return (WORDS[answer.deviceId] ?? OTHERS).answer(answer, viewOf(answer.bytes));
}

/**
 * Whether a queue is one that a network device receives frames on.
 *
 * @example
 * ```ts
 * import { receivesFrames } from "@vireo/drivers/trace";
 * import { DeviceId, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const place = { deviceId: DeviceId.NET, features: FeatureSet.NONE, queue: 0, name: "input.0" };
 * assertEquals(receivesFrames(place), true);
 * assertEquals(receivesFrames({ ...place, queue: 1, name: "output.0" }), false);
 * ```
 */
export function receivesFrames({ deviceId, name }: QueuePlace): boolean {
  return deviceId === DeviceId.NET && /^(?:input|receiveq)/.test(name);
}

/**
 * The Ethernet frame in a buffer that the driver of a network device sends, or the packet in one of a socket device.
 *
 * @param way Whether the driver sent the buffer, or received it.
 * @param bytes The whole of what that side wrote.
 *
 * @example
 * ```ts
 * import { frameOf } from "@vireo/drivers/trace";
 * import { DeviceId, Feature, FeatureSet, netHeaderSize } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const features = FeatureSet.of(Feature.VERSION_1);
 * const place = { deviceId: DeviceId.NET, features, queue: 1, name: "output.0" };
 * const buffer = new Uint8Array(netHeaderSize(features) + 60).fill(7, netHeaderSize(features));
 * assertEquals(frameOf(place, "sent", () => buffer), new Uint8Array(60).fill(7));
 * ```
 */
export function frameOf(
  place: QueuePlace,
  way: "sent" | "received",
  bytes: () => Uint8Array,
): Uint8Array | undefined {
  if (place.deviceId === DeviceId.VSOCK) {
    const queue = way === "sent" ? VsockQueue.TRANSMIT : VsockQueue.RECEIVE;
    const packet = place.queue === queue ? bytes() : undefined;
    return packet !== undefined && packet.length >= VSOCK_HDR.SIZE ? packet.slice() : undefined;
  }
  if (way === "received" || place.deviceId !== DeviceId.NET) return undefined;
  if (!/^(?:output|transmitq)/.test(place.name)) return undefined;
  const all = bytes();
  const header = netHeaderSize(place.features);
  return all.length > header ? all.slice(header) : undefined;
}

export type { AnswerBytes, QueuePlace, RequestBytes } from "./words/places.ts";
