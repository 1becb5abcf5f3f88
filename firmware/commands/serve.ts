import type { DeviceModel, DeviceTrace } from "@vireo/emu";
import { type ServerEvent, VhostUserServer } from "@vireo/emu/vhost-user";
import { DeviceId, VireoError } from "@vireo/hal";
import { FRONT_ENDS } from "../serve/front_ends.ts";
import { servedModel } from "../serve/served_model.ts";
import type { BoardOptions } from "../target/options.ts";
import { boardTrace } from "../trace/board_trace.ts";
import { doubleCommas } from "../terminal/commas.ts";
import { parseCount, UsageError } from "../terminal/usage.ts";

/** Most pairs: a message names a queue in eight bits. */
const MAX_PAIRS = 127;

/** Flags of `vireo serve`. */
interface ServeFlags {
  readonly socket: string;
  readonly queuePairs?: string;
  readonly once?: true;
  readonly check?: true;
  readonly json?: true;
}

/**
 * QEMU's arguments for a machine that uses a served device; its memory must be shared.
 *
 * @param model The device.
 * @param path Path of its socket.
 * @param pairs Its queue pairs, if it is a network device.
 * @returns The arguments, or undefined if QEMU has no front end for such a device.
 */
function qemuOptions(model: DeviceModel, path: string, pairs = 1): string[] | undefined {
  const memory = ["-object", "memory-backend-memfd,id=mem,size=1G,share=on", "-m", "1G"];
  const chardev = ["-chardev", `socket,id=vireo0,path=${doubleCommas(path)}`];
  const common = [...memory, "-machine", "memory-backend=mem", ...chardev];
  if (model.deviceId === DeviceId.NET) {
    const [queues, mq] = pairs > 1
      ? [`,queues=${pairs}`, `,mq=on,vectors=${2 * pairs + 2}`]
      : ["", ""];
    return [
      ...common,
      ...["-netdev", `vhost-user,id=net0,chardev=vireo0${queues}`],
      ...["-device", `virtio-net-pci,netdev=net0${mq}`],
    ];
  }
  const front = FRONT_ENDS.find(({ deviceId }) => deviceId === model.deviceId);
  return front && [...common, "-device", `${front.pci},chardev=vireo0`];
}

/**
 * `vireo serve`: serves a device at a vhost-user socket until it is interrupted.
 *
 * @throws {UsageError} If there is no such device.
 * @throws {VireoError} If the socket cannot be made; `GUEST_FAULT` with `--check` if a driver or a front end
 * did something wrong.
 */
export async function serve(board: BoardOptions, name: string, flags: ServeFlags): Promise<void> {
  if (board.target !== "emu") {
    throw new UsageError(`serve: the device is this program's own, so there is no --target`);
  }
  if (board.record !== undefined) {
    throw new UsageError(
      "serve: --record is for commands that have drivers: a recording is what devices do to them",
    );
  }
  const { queuePairs } = flags;
  const pairs = queuePairs === undefined
    ? undefined
    : parseCount(queuePairs, "--queue-pairs", 1, MAX_PAIRS);
  await using cleanup = new AsyncDisposableStack();
  const model = await servedModel(name, board, cleanup, pairs);
  const traced = await boardTrace(board, {});
  let trace: DeviceTrace | undefined;
  if (traced !== undefined) {
    const { servedTrace } = await import("../trace/served_trace.ts");
    trace = servedTrace(cleanup.use(traced).tracer, model);
  }
  // Before there is a socket, which is taken away however this ends.
  const interrupted = Promise.withResolvers<void>();
  const stop = (): void => interrupted.resolve();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, stop);
    cleanup.defer(() => Deno.removeSignalListener(signal, stop));
  }
  let wrongs = 0;
  const server = cleanup.use(
    new VhostUserServer({
      model,
      path: flags.socket,
      once: flags.once,
      offer: { packed: board.packed, inOrder: board.inOrder },
      queueSize: board.queueSize,
      trace,
      event: (event) => {
        if (isWrong(event)) wrongs++;
        console.log(flags.json ? JSON.stringify(event) : eventText(event));
      },
    }),
  );
  const qemu = qemuOptions(model, flags.socket, pairs);
  if (flags.json) {
    const { deviceId, name } = model;
    const socket = flags.socket;
    console.log(JSON.stringify({ kind: "listening", device: name, deviceId, socket, qemu }));
  } else {
    console.log(`serving ${model.name} at ${flags.socket}`);
    console.log(
      qemu === undefined
        ? "QEMU has no front end for it"
        : `QEMU: ${qemu.map((word) => /[^\w=,./:-]/.test(word) ? `'${word}'` : word).join(" ")}`,
    );
  }
  await Promise.race([server.ended, interrupted.promise]);
  if (!flags.check || wrongs === 0) return;
  throw new VireoError("GUEST_FAULT", `The other side broke the specification ${wrongs} times`);
}

function isWrong(event: ServerEvent): boolean {
  return event.kind === "violation" || event.kind === "refused" ||
    event.kind === "disconnected" && event.reason !== undefined;
}

function eventText(event: ServerEvent): string {
  switch (event.kind) {
    case "connected":
      return "a front end connected";
    case "refused":
      return `refused ${event.request}: ${event.reason}`;
    case "violation": {
      const { register, value, reason } = event.violation;
      return `violation (${register}${value === undefined ? "" : ` ${value}`}): ${reason}`;
    }
    case "unnoted":
      return `queue ${event.queue} has ${event.size} entries, but the front end keeps memory to note ` +
        `${event.room}: its requests under way are lost if this server is killed`;
    case "disconnected":
      return event.reason === undefined
        ? "the front end left"
        : `left the front end: ${event.reason}`;
  }
}
