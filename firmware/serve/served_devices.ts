import { frontEnd } from "./front_ends.ts";
import type { BoardOptions } from "../target/options.ts";
import { UsageError } from "../terminal/usage.ts";
import type { ServeAnswer, ServeRequest } from "./_worker.ts";

/** Devices of a QEMU board that this program serves, on a thread of their own, in place of QEMU's. */
export class ServedDevices implements AsyncDisposable {
  /** QEMU's arguments for what the devices are behind. */
  readonly backends: readonly string[];
  /** QEMU's `-device` arguments. */
  readonly devices: readonly string[];
  readonly #cleanup: AsyncDisposableStack;

  private constructor(
    backends: readonly string[],
    devices: readonly string[],
    cleanup: AsyncDisposableStack,
  ) {
    this.backends = backends;
    this.devices = devices;
    this.#cleanup = cleanup;
  }

  /**
   * Serves the devices of a board; none if it asks for none.
   *
   * @param onPci Whether the board's devices are on PCI.
   * @throws {UsageError} If the board's options are not for a served device.
   * @throws {VireoError} If what a device needs cannot be opened.
   */
  static async start(board: BoardOptions, onPci: boolean): Promise<ServedDevices> {
    await using cleanup = new AsyncDisposableStack();
    const backends: string[] = [];
    const devices: string[] = [];
    if (board.served.length > 0) {
      const folder = await Deno.makeTempDir({ prefix: "vireo-served-" });
      cleanup.defer(() => Deno.remove(folder, { recursive: true }));
      const requests = requestsOf(board, folder);
      await serve(requests, cleanup);
      for (const [i, { name, path }] of requests.entries()) {
        const front = frontEnd(name);
        const behind = name === "net" ? `netdev=served${i}` : `chardev=served-socket${i}`;
        backends.push("-chardev", `socket,id=served-socket${i},path=${path}`);
        if (name === "net") {
          backends.push("-netdev", `vhost-user,id=served${i},chardev=served-socket${i}`);
        }
        // QEMU 7.2 ends by a null pointer when a driver asks for pending vectors of such a network device.
        const vectors = name === "net" ? ",vectors=0" : "";
        const packed = board.packed ? ",packed=on" : "";
        devices.push(`${onPci ? front.pci : front.mmio},${behind}${vectors}${packed}`);
      }
    }
    return new ServedDevices(backends, devices, cleanup.move());
  }

  /** Ends the servers; QEMU has ended before. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}

/** What is served: each disk has a socket of its own. */
function requestsOf(board: BoardOptions, folder: string): ServeRequest[] {
  const { blk, net, with: more, packed, queueSize } = board;
  const requests: ServeRequest[] = [];
  for (const name of new Set(board.served)) {
    if (name === "net" && (net?.kind === "user" || net?.kind === "none")) {
      throw new UsageError(`--served net: expected --net tap:NAME or no --net, got '${net.kind}'`);
    }
    if (name === "blk" && blk.length === 0) {
      throw new UsageError("--served blk: expected a disk, got --blk none");
    }
    for (const disk of name === "blk" ? blk : [undefined]) {
      requests.push({
        name,
        path: `${folder}/${requests.length}`,
        board: { blk: disk === undefined ? [] : [disk], net, with: more },
        offer: { packed },
        queueSize,
      });
    }
  }
  return requests;
}

/** Serves on a thread, for QEMU waits for answers while this one waits for QEMU. */
async function serve(
  requests: readonly ServeRequest[],
  cleanup: AsyncDisposableStack,
): Promise<void> {
  const worker = new Worker(new URL("./_worker.ts", import.meta.url), { type: "module" });
  cleanup.defer(() => worker.terminate());
  let waiting = Promise.withResolvers<void>();
  worker.onmessage = ({ data }: MessageEvent<ServeAnswer>): void => {
    if (data.kind === "failed") waiting.reject(data.error);
    else waiting.resolve();
  };
  worker.onerror = (event): void => {
    event.preventDefault();
    waiting.reject(event.error ?? new Error(event.message));
  };
  worker.postMessage(requests);
  await waiting.promise;
  cleanup.defer(async () => {
    waiting = Promise.withResolvers();
    worker.postMessage("end");
    await waiting.promise;
  });
}
