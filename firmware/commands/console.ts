import type { Port } from "@vireo/drivers/console";
import type { BoardOptions } from "../target/options.ts";
import { writeAll } from "../terminal/output.ts";
import { parseCount, UsageError } from "../terminal/usage.ts";
import type { Vireo } from "../vireo.ts";
import { openVireo } from "../session.ts";

/** Flags of `vireo console`. */
interface ConsoleFlags {
  readonly port: string;
  readonly list?: true | undefined;
  readonly send?: string | undefined;
  readonly quiet: string;
  readonly json?: true | undefined;
}

/** The key that leaves a terminal session, as in telnet: Ctrl-]. */
const LEAVE = 0x1d;
/** How long a port may take to appear, in milliseconds. */
const PORT_DEADLINE = 1000;

/** `vireo console`: lists ports, or connects one to standard input and output. */
export async function runConsole(board: BoardOptions, flags: ConsoleFlags): Promise<void> {
  const quiet = parseCount(flags.quiet, "--quiet");
  await using vireo = await openVireo(board);
  const which = /^\d+$/.test(flags.port) ? Number(flags.port) : flags.port;
  const con = vireo.console;
  // The handshake is over when the wanted port is there.
  const found = await con.port(which, { deadline: PORT_DEADLINE }).catch((error) => {
    throw new UsageError(`console: no port '${flags.port}': ${error.message}`);
  });
  if (flags.list) return list(con.ports, flags.json);
  using port = found.open();
  await port.hostOpened({ deadline: PORT_DEADLINE });
  const answer = await converse(vireo, port, { ...flags, quiet });
  if (flags.json) {
    console.log(JSON.stringify({ port: port.id, name: port.name, received: answer }));
  }
}

function list(ports: readonly Port[], json: true | undefined): void {
  const rows = ports.map((port) => ({
    id: port.id,
    name: port.name,
    console: port.isConsole,
    hostOpen: port.hostOpen,
    size: port.size ?? null,
  }));
  if (json) return console.log(JSON.stringify({ ports: rows }));
  for (const row of rows) {
    const size = row.size === null ? "" : ` ${row.size.cols}x${row.size.rows}`;
    const kind = row.console ? "console" : "port";
    console.log(`${row.id} ${kind} '${row.name}' host ${row.hostOpen ? "open" : "closed"}${size}`);
  }
}

/** Pumps both directions until the host hangs up or is quiet after the input ended. */
async function converse(
  vireo: Vireo,
  port: Port,
  flags: Omit<ConsoleFlags, "quiet"> & { readonly quiet: number },
): Promise<string> {
  const stop = new AbortController();
  const decoder = new TextDecoder();
  let received = "";
  let inputEnded = false;
  let quiet: ReturnType<typeof setTimeout> | undefined;
  const rearm = (): void => {
    clearTimeout(quiet);
    if (inputEnded) quiet = setTimeout(() => stop.abort(), flags.quiet);
  };
  const output = (async () => {
    for (;;) {
      const bytes = await port.read({ signal: stop.signal });
      if (bytes === null) return;
      if (flags.json) received += decoder.decode(bytes, { stream: true });
      else await writeAll(bytes);
      rearm();
    }
  })().catch((error) => {
    if (!stop.signal.aborted) throw error;
  });
  const terminal = flags.send === undefined && Deno.stdin.isTerminal();
  try {
    if (terminal) Deno.stdin.setRaw(true);
    if (terminal) console.error(`Port ${port.id} '${port.name}'; Ctrl-] leaves.\r`);
    if (flags.send !== undefined) await port.writeText(flags.send, { signal: vireo.signal });
    else await pump(port, terminal);
    inputEnded = true;
    if (terminal) stop.abort();
    else rearm();
    await output;
  } finally {
    clearTimeout(quiet);
    if (terminal) Deno.stdin.setRaw(false);
  }
  return received;
}

async function pump(port: Port, terminal: boolean): Promise<void> {
  let written = Promise.resolve();
  for (;;) {
    const chunk = new Uint8Array(4096);
    const length = await Deno.stdin.read(chunk);
    if (length === null) return await written;
    const bytes = chunk.subarray(0, length);
    if (terminal && bytes.includes(LEAVE)) return;
    written = written.then(() => port.write(bytes));
    // The key that leaves must be read even if the device takes nothing more.
    if (terminal) written.catch(() => {});
    else await written;
  }
}
