import { toFileUrl } from "../paths.ts";
import type { BoardOptions } from "../options.ts";
import { UsageError } from "../usage.ts";
import { openVireo, type VireoMain } from "../vireo.ts";

/**
 * `vireo run`: imports a script and calls its default export with the board.
 *
 * @throws {UsageError} If the file is missing or has no such export.
 */
export async function run(
  board: BoardOptions,
  script: string,
  args: readonly string[],
): Promise<void> {
  const main = await loadScript(script);
  await using vireo = await openVireo(board, { args });
  const stop = (): void => vireo.abort(new Error("Interrupted"));
  Deno.addSignalListener("SIGINT", stop);
  try {
    await main(vireo);
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
  }
}

/**
 * Imports a script's default export.
 *
 * @throws {UsageError} If the file is missing or has no default function.
 */
export async function loadScript(script: string): Promise<VireoMain> {
  try {
    await Deno.stat(script);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`run: no such file: ${script}`);
  }
  const module: { default?: unknown } = await import(toFileUrl(script));
  if (typeof module.default !== "function") {
    throw new UsageError(
      `run: ${script}: expected 'export default async function (vireo: Vireo) { ... }'`,
    );
  }
  return module.default as VireoMain;
}
