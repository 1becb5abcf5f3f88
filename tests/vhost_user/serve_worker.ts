/**
 * Serves a device on a thread of its own: a front end waits for its answers, so it cannot be on this one.
 *
 * @module
 */
import type { DeviceModel, TransportOffer } from "@vireo/emu";
import { type ServerEvent, VhostUserServer } from "@vireo/emu/vhost-user";
import { openTrace, servedTrace } from "@vireo/firmware/trace";
import { servedModel } from "../../firmware/serve/served_model.ts";
import { DEFAULT_BOARD } from "../../firmware/target/options.ts";

/** Devices that a worker must serve. */
interface ServeRequest {
  readonly name: string;
  readonly path: string;
  readonly offer: TransportOffer;
  /** The image of a disk. */
  readonly image?: string | undefined;
  /** The device's value of `--with`. */
  readonly with?: string | undefined;
  /** The interface of the host that a network device is wired to, in place of a hub. */
  readonly tap?: string | undefined;
  /** Its queue pairs. */
  readonly pairs?: number | undefined;
  /** Where it is traced to. */
  readonly traceFile?: string | undefined;
}

/** Answers of the worker. */
export type ServeAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "event"; readonly event: ServerEvent }
  | { readonly kind: "done"; readonly result: unknown }
  | { readonly kind: "failed"; readonly message: string };

/** Commands to it: serve, call a method of the model, count its descriptors, or end. */
export type ServeCommand =
  | { readonly kind: "serve"; readonly request: ServeRequest }
  | { readonly kind: "call"; readonly method: string; readonly args: readonly unknown[] }
  | { readonly kind: "set"; readonly property: string; readonly value: unknown }
  | { readonly kind: "regions" }
  | { readonly kind: "end" };

const scope = self as unknown as {
  onmessage: (event: MessageEvent<ServeCommand>) => void;
  postMessage(answer: ServeAnswer): void;
};
const cleanup = new AsyncDisposableStack();
/** Server that was started last. */
let server: VhostUserServer | undefined;
let model: DeviceModel | undefined;

async function obey(command: ServeCommand): Promise<ServeAnswer> {
  switch (command.kind) {
    case "serve": {
      const { name, path, offer, image, with: value, tap, pairs, traceFile } = command.request;
      const blk = image === undefined ? DEFAULT_BOARD.blk : [{
        path: image,
        readOnly: false,
        serial: undefined,
        blockSize: undefined,
      }];
      const others = DEFAULT_BOARD.with;
      const board = {
        ...DEFAULT_BOARD,
        blk,
        ...tap === undefined ? {} : { net: { kind: "tap", name: tap } as const },
        with: value === undefined ? others : [{ name, value }],
      };
      model = await servedModel(name, board, cleanup, pairs);
      const traced = traceFile === undefined
        ? undefined
        : cleanup.use(openTrace({ file: traceFile }));
      server = cleanup.use(
        new VhostUserServer({
          model,
          path,
          offer,
          trace: traced && servedTrace(traced.tracer, model),
          event: (event) => scope.postMessage({ kind: "event", event }),
        }),
      );
      return { kind: "ready" };
    }
    case "call": {
      const methods = model as unknown as Record<string, (...args: unknown[]) => unknown>;
      return { kind: "done", result: await methods[command.method]!(...command.args) };
    }
    case "set":
      (model as unknown as Record<string, unknown>)[command.property] = command.value;
      return { kind: "done", result: undefined };
    case "regions":
      return { kind: "done", result: server!.device.regions };
    case "end":
      await cleanup.disposeAsync();
      return { kind: "done", result: undefined };
  }
}

scope.onmessage = async ({ data }) => {
  try {
    scope.postMessage(await obey(data));
  } catch (error) {
    const message = error instanceof Error ? error.stack ?? error.message : String(error);
    scope.postMessage({ kind: "failed", message });
  }
};
