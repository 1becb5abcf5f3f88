import { type Dma, Feature, FeatureSet, MAX_QUEUE_SIZE, VireoError } from "@vireo/hal";
import { HostRing } from "./host_ring.ts";
import { PackedVirtqueue } from "./packed.ts";
import { SplitVirtqueue, type SplitVirtqueueOptions } from "./split.ts";
import type { QueueAddresses, Virtqueue, VirtqueueOptions } from "./virtqueue.ts";

/** A virtqueue with the extra members that the bus and the transport need. */
export interface Ring extends Virtqueue {
  /** The addresses of its parts. */
  readonly addresses: QueueAddresses;
  /** Whether the driver asks for interrupts. */
  readonly callbacks: boolean;
  /** Number of added descriptors that the next {@linkcode Virtqueue.kick} makes available. */
  readonly unkicked: number;
  /** A number that changes when {@linkcode Virtqueue.pop} takes a buffer. */
  readonly popped: number;
  /**
   * Whether nothing is published and nobody notified (virtio 1.4 §3.4.1). What is added meanwhile is made
   * available by the first kick after it.
   */
  held: boolean;
}

/** Which ring to make. */
export interface RingRequest {
  /** Index of the queue on its device. */
  readonly index: number;
  /** Name of the queue, for errors. */
  readonly name: string;
  /** The largest size that the device, the driver and the bus allow. */
  readonly maxSize: number;
  /** Memory for the ring. */
  readonly dma: Dma;
  /** The negotiated features. */
  readonly features: FeatureSet;
  /** Alignment of the used ring in a legacy block. */
  readonly legacyAlign: number | undefined;
  /** Whether the driver allows indirect descriptors. */
  readonly indirect: boolean;
  /** Whether the driver plays the device's side. */
  readonly reversed?: boolean;
  /** Makes a ring on which the driver plays the device; {@linkcode HostRing} by default. */
  readonly host?: ((options: SplitVirtqueueOptions) => HostRing) | undefined;
  /** Name of the device, for errors. */
  readonly device: string;
  /** Reads the device's status. */
  readonly status: () => number;
  /** As at {@linkcode VirtqueueOptions}. */
  readonly diagnose?: (() => VireoError | undefined) | undefined;
  /** Notifies the device, as `Transport.notify` does. */
  readonly notify: (index: number, data: number) => void;
}

/** One ring format: its feature bits, and how to make it. */
interface RingFormat {
  /** Bits 28 to 41 that the format implements. */
  readonly features: FeatureSet;
  /** Whether the negotiated features select this format. */
  readonly chosen: (features: FeatureSet) => boolean;
  /** The largest size it can have within a bound. */
  readonly fit: (maxSize: number) => number;
  readonly create: (size: number, request: RingRequest) => Ring;
}

/** The feature bits that both formats implement. */
const COMMON = FeatureSet.of(
  Feature.INDIRECT_DESC,
  Feature.EVENT_IDX,
  Feature.IN_ORDER,
  Feature.NOTIFICATION_DATA,
);

/** The ring formats, the preferred one first. */
export const RINGS: readonly RingFormat[] = [
  {
    features: COMMON.with(Feature.RING_PACKED),
    chosen: (features) => features.has(Feature.RING_PACKED),
    fit: (maxSize) => Math.min(Math.trunc(maxSize), MAX_QUEUE_SIZE),
    create: (size, request) => new PackedVirtqueue(virtqueueOptions(size, request)),
  },
  {
    features: COMMON,
    chosen: () => true,
    fit: (maxSize) => 1 << (31 - Math.clz32(Math.min(maxSize, MAX_QUEUE_SIZE))),
    create: (size, request) =>
      new SplitVirtqueue({
        ...virtqueueOptions(size, request),
        legacyAlign: request.legacyAlign,
      }),
  },
];

function virtqueueOptions(size: number, request: RingRequest): VirtqueueOptions {
  const { features } = request;
  return {
    index: request.index,
    name: request.name,
    size,
    dma: request.dma,
    indirect: request.indirect && features.has(Feature.INDIRECT_DESC),
    eventIdx: features.has(Feature.EVENT_IDX),
    inOrder: features.has(Feature.IN_ORDER),
    notificationData: features.has(Feature.NOTIFICATION_DATA),
    notify: request.notify,
    status: request.status,
    diagnose: request.diagnose,
    device: request.device,
  };
}

/** The feature bits that a reversed ring does not implement. */
const NOT_REVERSED = [
  Feature.RING_PACKED,
  Feature.INDIRECT_DESC,
  Feature.IN_ORDER,
  Feature.NOTIFICATION_DATA,
] as const;

/** Makes a split ring on which the driver plays the device. */
function reversedFormat(request: RingRequest): RingFormat {
  const wrong = NOT_REVERSED.filter((bit) => request.features.has(bit));
  if (wrong.length > 0) {
    throw new TypeError(
      `Cannot reverse the queue '${request.name}' with features ${
        wrong.join(", ")
      }: clear them in validate()`,
    );
  }
  return {
    ...RINGS.at(-1)!,
    create: (size) => {
      const options = { ...virtqueueOptions(size, request), legacyAlign: request.legacyAlign };
      return request.host?.(options) ?? new HostRing(options);
    },
  };
}

/**
 * Makes a ring of the negotiated format and the largest allowed size; a smaller one if memory is short, as
 * Linux does.
 *
 * @throws {VireoError} `OUT_OF_MEMORY` If not even the smallest ring fits.
 */
export function createRing(request: RingRequest): Ring {
  if (!(request.maxSize >= 1)) {
    throw new RangeError(
      `Cannot make a ring of ${request.maxSize} descriptors: expected at least 1`,
    );
  }
  const format = request.reversed
    ? reversedFormat(request)
    : RINGS.find(({ chosen }) => chosen(request.features))!;
  let size = format.fit(request.maxSize);
  for (;;) {
    try {
      return format.create(size, request);
    } catch (error) {
      const short = error instanceof VireoError && error.code === "OUT_OF_MEMORY";
      if (!short || size === 1) throw error;
      size = format.fit(size / 2);
    }
  }
}
