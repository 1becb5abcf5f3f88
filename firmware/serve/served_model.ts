import { systemRandom } from "@vireo/emu/backends";
import { RngDevice } from "@vireo/emu/rng";
import type { DeviceModel } from "@vireo/emu";
import { boardDevice, emulateDevice } from "../devices/table.ts";
import { makeConsole, makeDisk, makeNet } from "../target/models.ts";
import type { BoardOptions } from "../target/options.ts";
import { DEVICE_IDS } from "../target/sockets.ts";
import { toFileUrl } from "../terminal/paths.ts";
import { UsageError } from "../terminal/usage.ts";

/** The options of a board that say what is served. */
export type ServedBoard =
  & Pick<BoardOptions, "blk" | "net" | "with">
  & Partial<Pick<BoardOptions, "blkZoned">>;

/** Default export of a file with a device of one's own. */
type ServedModule = () => DeviceModel | Promise<DeviceModel>;

/**
 * Makes the model that `vireo serve` serves: one of the board's devices by its name, with the board's
 * options for it, or the default export of a TypeScript file.
 *
 * @param name The name, or a path that ends in `.ts` or `.js`.
 * @param cleanup Owns the model, and what the model does not own.
 * @param pairs Queue pairs of a network device, 1 by default.
 * @throws {UsageError} If there is no such device or file, or it exports no function.
 * @throws {VireoError} If what it needs cannot be opened.
 */
export async function servedModel(
  name: string,
  board: ServedBoard,
  cleanup: AsyncDisposableStack,
  pairs?: number,
): Promise<DeviceModel> {
  if (pairs !== undefined && name !== "net") {
    throw new UsageError(`serve ${name}: --queue-pairs is for net`);
  }
  return cleanup.use(await make(name, board, cleanup, pairs));
}

async function make(
  name: string,
  board: ServedBoard,
  cleanup: AsyncDisposableStack,
  pairs?: number,
): Promise<DeviceModel> {
  if (/\.[jt]s$/.test(name)) return await ownModel(name);
  switch (name) {
    case "blk": {
      const [disk, ...more] = board.blk;
      if (disk === undefined || more.length > 0) {
        throw new UsageError(`serve blk: expected one --blk, got ${board.blk.length}`);
      }
      return makeDisk(disk, board.blkZoned, cleanup);
    }
    case "net": {
      const { net } = makeNet(board.net ?? { kind: "hub" }, cleanup, pairs);
      if (net === undefined) throw new UsageError("serve net: expected a wire, got --net none");
      return net;
    }
    case "console":
      return makeConsole().console;
    case "rng":
      return new RngDevice({ random: systemRandom() });
  }
  if (!DEVICE_IDS.has(name)) {
    const names = [...DEVICE_IDS.keys()].join(", ");
    throw new UsageError(
      `serve: no device '${name}', there is ${names}, or a file that ends in .ts`,
    );
  }
  const option = board.with.find((device) => device.name === boardDevice(name).name);
  return await emulateDevice(option ?? { name, value: undefined }, cleanup);
}

async function ownModel(path: string): Promise<DeviceModel> {
  let module: { default?: unknown };
  try {
    await Deno.stat(path);
    module = await import(toFileUrl(path));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`serve: no such file: ${path}`);
  }
  if (typeof module.default === "function") return await (module.default as ServedModule)();
  throw new UsageError(
    `serve: ${path}: expected 'export default function (): DeviceModel { ... }'`,
  );
}
