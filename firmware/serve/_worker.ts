/**
 * The thread that serves the devices of a QEMU board. It is told what to serve, and to end.
 *
 * @module
 */
import type { TransportOffer } from "@vireo/emu";
import { VhostUserServer } from "@vireo/emu/vhost-user";
import { type ServedBoard, servedModel } from "./served_model.ts";

/** A device to serve. */
export interface ServeRequest {
  /** The device's name. */
  readonly name: string;
  /** Where to listen. */
  readonly path: string;
  /** The parts of the board for it. */
  readonly board: ServedBoard;
  /** Ring features. */
  readonly offer: TransportOffer;
  /** Largest queue size. */
  readonly queueSize: number | undefined;
}

/** Message of the thread: the devices are served, or all is ended; or that it failed. */
export type ServeAnswer =
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly error: unknown };

const scope = self as unknown as {
  onmessage: (event: MessageEvent<readonly ServeRequest[] | "end">) => void;
  postMessage(answer: ServeAnswer): void;
};
const cleanup = new AsyncDisposableStack();

async function obey(command: readonly ServeRequest[] | "end"): Promise<void> {
  if (command === "end") return await cleanup.disposeAsync();
  for (const { name, path, board, offer, queueSize } of command) {
    const model = await servedModel(name, board, cleanup);
    cleanup.use(new VhostUserServer({ model, path, offer, queueSize }));
  }
}

scope.onmessage = async ({ data }) => {
  try {
    await obey(data);
    scope.postMessage({ kind: "done" });
  } catch (error) {
    scope.postMessage({ kind: "failed", error });
  }
};
