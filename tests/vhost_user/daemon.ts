import { tiedCommand } from "@vireo/hal/host";
import { wait } from "./wait.ts";

/** A back end in a process of its own, as a test starts it. */
export interface Daemon extends AsyncDisposable {
  /** Its process. */
  readonly process: Deno.ChildProcess;
  /** Path of the socket at which it listens. */
  readonly socket: string;
}

/** A folder of a test, which is removed with what is in it. */
export function temporaryFolder(): AsyncDisposable & { readonly path: string } {
  const path = Deno.makeTempDirSync({ prefix: "vireo-vu-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** How to start a daemon. */
interface DaemonOptions {
  /** Environment variables besides our own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether nobody sees what it says of errors. */
  readonly quiet?: boolean;
}

/** Starts a program, which ends with this process at the latest, and waits until it listens at a socket. */
export async function startDaemon(
  program: string,
  args: readonly string[],
  socket: string,
  { env = {}, quiet = false }: DaemonOptions = {},
): Promise<Daemon> {
  const [tied, all] = tiedCommand(program, args);
  const process = new Deno.Command(tied, {
    args: all,
    // Some end when their standard input does.
    stdin: "piped",
    stdout: "null",
    stderr: quiet ? "null" : "inherit",
    env,
  }).spawn();
  const end = async (): Promise<void> => {
    try {
      process.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // it has ended
    }
    await process.status;
    await process.stdin.close().catch(() => {});
  };
  try {
    await wait(`${program} to listen at ${socket}`, () => exists(socket));
  } catch (error) {
    await end();
    throw error;
  }
  return { process, socket, [Symbol.asyncDispose]: end };
}

/** QEMU's storage daemon with a raw image behind a vhost-user-blk export. */
export async function storageDaemon(
  image: string,
  socket: string,
  queues = 2,
  program = "qemu-storage-daemon",
): Promise<Daemon> {
  return await startDaemon(program, [
    "--blockdev",
    `driver=file,node-name=f,filename=${image},discard=unmap`,
    "--export",
    `type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path=${socket},writable=on,` +
    `num-queues=${queues}`,
  ], socket);
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
