import {
  ANY_ID,
  DeviceId,
  FeatureSet,
  P9_CONFIG,
  P9_NO_FID,
  P9_NO_ID,
  P9_QID,
  P9Feature,
  P9Type,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import { type WaitOptions, within } from "../wait/mod.ts";
import { type P9Reader, P9Writer } from "./_message.ts";
import { P9Session } from "./_session.ts";
import { P9Tree } from "./tree.ts";

/** Size of messages that is asked for: 256 KiB of data and the header. */
const MESSAGE_SIZE = 256 * 1024 + 24;
/** Longest mount tag that is believed; QEMU's have 31 bytes at most. */
const MAX_TAG = 1024;

/**
 * Most requests that the device has at once. QEMU's serves so many, and one more would stop it for good:
 * its queue has as many entries, but virtio-mmio reports 1024.
 */
const MAX_REQUESTS = 128;

/** How to attach. */
export interface P9AttachOptions extends WaitOptions {
  /** Name of the tree to attach to, where the server exports several; empty by default. */
  readonly name?: string;
  /** Name of the user; empty by default. */
  readonly user?: string;
  /** Number of the user; none by default, so that files belong to the server's own user. */
  readonly uid?: number;
}

/**
 * A 9P transport: one server of files (Linux `net/9p/trans_virtio.c`).
 *
 * @example
 * ```ts
 * import type { P9 } from "@vireo/drivers/p9";
 *
 * async function names(p9: P9): Promise<string[]> {
 *   await using tree = await p9.attach({ deadline: 1000 });
 *   return (await tree.list()).map(({ name }) => name);
 * }
 * ```
 */
export class P9 extends QueueDriver {
  /** The host's name for its tree. */
  readonly mountTag: string;
  #session!: P9Session;

  /** Sets up the queue. */
  constructor(device: VirtioDevice) {
    super(device, "9P transport");
    const length = device.config.read16(P9_CONFIG.tag_len.offset);
    if (length > MAX_TAG) {
      throw this.error("CONFIG_INVALID", "Cannot use the mount tag", {
        seen: `${length} bytes`,
        expected: `at most ${MAX_TAG}`,
      });
    }
    this.mountTag = new TextDecoder().decode(device.config.readBytes(P9_CONFIG.SIZE, length));
    this.setUp();
  }

  /**
   * Attaches to the server's tree; several may be attached at once.
   *
   * @throws {P9Error} If the server refuses it. {VireoError} `UNSUPPORTED` If it does not speak 9P2000.L;
   * `TIMEOUT` or why the device failed; the signal's reason.
   */
  async attach(options: P9AttachOptions = {}): Promise<P9Tree> {
    const { name = "", user = "", uid = P9_NO_ID } = options;
    const session = this.#session;
    const call = within(options);
    await session.ready(call);
    const fid = session.takeFid();
    const message = P9Writer.begin(P9Type.ATTACH).u32(fid).u32(P9_NO_FID).text(user).text(name);
    const onFailed = (answer: P9Reader | undefined): void => {
      if (answer !== undefined) session.forget(fid);
      else session.giveFid(fid);
    };
    const answer = await session.call(message.u32(uid), P9_QID.SIZE, call, { onFailed });
    return new P9Tree(session, fid, answer.qid());
  }

  /** Trees and files from before it cannot be used after it. */
  protected override setUp(): void {
    const [queue] = this.openQueues({ name: "requests", maxSize: MAX_REQUESTS });
    this.#session = new P9Session(this.device, MESSAGE_SIZE, queue);
  }

  /** Ends the session. */
  protected override ended(error: Error): void {
    this.#session.fail(error);
  }
}

/** Drives 9P transports; what `probe` gives is a {@linkcode P9}. */
export const p9Driver: VirtioDriver<P9> = {
  name: "9pnet_virtio",
  ids: [{ device: DeviceId.NINE_P, vendor: ANY_ID }],
  features: FeatureSet.of(P9Feature.MOUNT_TAG),
  featureNames: P9Feature,
  validate(device, features) {
    if (features.has(P9Feature.MOUNT_TAG)) return features;
    throw new VireoError("UNSUPPORTED", "9P transport has no mount tag", { device: device.name });
  },
  probe: (device) => new P9(device),
};
