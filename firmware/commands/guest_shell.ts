import type { StreamPort } from "@vireo/emu";
import { repl } from "../repl/session.ts";
import { END_OF_INPUT } from "../repl/lines.ts";
import type { BoardOptions } from "../target/options.ts";
import { writeAll } from "../terminal/output.ts";
import { bringIntoScope, greeting } from "./shell_init.ts";
import { openVireo } from "../session.ts";
import type { Vireo } from "../vireo.ts";
import { SHELL_PORT, SHELL_TERMINAL } from "../terminal/environment.ts";

/** How long the port may take to appear and to be connected, in milliseconds. */
const PORT_DEADLINE = 20_000;

/** A REPL on a port of the board's console, by our own driver; for a guest. */
export async function portShell(board: BoardOptions): Promise<void> {
  await using vireo = await openVireo(board);
  await shellOnPort(vireo, SHELL_PORT, Deno.env.get(SHELL_TERMINAL));
}

/** The same on a port of an open board; its other side is a terminal if that is described. */
export async function shellOnPort(vireo: Vireo, name: string, terminal?: string): Promise<void> {
  bringIntoScope(vireo);
  const found = await vireo.console.port(name, { deadline: PORT_DEADLINE });
  using port = found.open();
  await port.hostOpened({ deadline: PORT_DEADLINE });
  if (terminal !== undefined) await port.writeText(greeting(vireo).join("\r\n") + "\r\n");
  await repl({
    input: port.readable,
    write: (bytes) => port.write(bytes),
    terminal: terminal === undefined ? undefined : JSON.parse(terminal),
  });
  await port.flush({ deadline: PORT_DEADLINE });
}

/** A REPL that reads what was piped to it, in this process: another one of Deno's would take a guest seconds to start. */
export async function pipedShell(board: BoardOptions): Promise<void> {
  await using vireo = await openVireo(board);
  bringIntoScope(vireo);
  await repl({ input: Deno.stdin.readable, write: writeAll });
}

/**
 * The host's side of {@linkcode shellOnPort}: passes input on, and output until the connection ends.
 *
 * @param port The host's end of the port.
 * @param input What is typed; its end is passed on too.
 * @param write Takes the output.
 */
export async function connectShell(
  port: StreamPort,
  input: ReadableStream<Uint8Array>,
  write: (bytes: Uint8Array) => void | Promise<void>,
): Promise<void> {
  void passOn(input, port.writable).catch(() => {});
  try {
    for await (const bytes of port.readable) await write(bytes);
  } catch {
    // The connection ends with QEMU, and QEMU tells why.
  }
}

async function passOn(
  input: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
): Promise<void> {
  const writer = writable.getWriter();
  for await (const bytes of input) await writer.write(bytes);
  // A connection cannot be closed in one direction only; so the guest is told as by a terminal.
  await writer.write(Uint8Array.of(END_OF_INPUT));
}
