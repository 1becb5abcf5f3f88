// deno-lint-ignore-file no-console -- a program
/**
 * The cost of vhost-user: our driver and a loop in C on our devices, on QEMU's storage daemon and on
 * rust-vmm's entropy daemon, by turns. `make bench-vhost-user` writes `docs/vhost-user.md`.
 *
 * `deno run -A bench/vhost_user/main.ts [--rounds 7] [--write]`
 *
 * @module
 */
import { parseArgs } from "node:util";
import { CACHE } from "../../firmware/image/paths.ts";
import { exec } from "../../firmware/image/exec.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "7" }, write: { type: "boolean" } },
});
const rounds = Number(values.rounds);
const HERE = new URL(".", import.meta.url).pathname;
const ROOT = new URL("../../", import.meta.url).pathname;
const PAGE = `${ROOT}docs/vhost-user.md`;
const BEGIN = "<!-- measured -->";
/** Bytes of the disk: all of it stays in the page cache. */
const DISK = 64 << 20;
/** Where `make peers` compiles rust-vmm's daemon. */
const RUST = `${CACHE}/peers/cargo/bin/vhost-device-rng`;

/** A line that a front end prints. */
interface Line {
  readonly op: number;
  readonly median?: number;
  readonly there?: number;
  readonly back?: number;
}
type FrontEnd = "C" | "ours";
type BackEnd = "vireo serve" | "qemu-storage-daemon" | "vhost-device-rng";

/** A work, which is done with each front end on each back end. */
interface Work {
  readonly title: string;
  readonly figure: (line: Line) => number;
  /** Arguments behind the socket. */
  readonly args: readonly (string | number)[];
  readonly on: readonly BackEnd[];
}

const SECTORS = DISK / 512;
const QSD = ["vireo serve", "qemu-storage-daemon"] as const;
const RNG = ["vireo serve", "vhost-device-rng"] as const;
const WORKS: readonly Work[] = [
  {
    title: "blk, read 4 KiB, depth 1, median",
    figure: ({ median }) => median!,
    args: ["blk", 4096, 1, 2000, SECTORS],
    on: QSD,
  },
  {
    title: "blk, read 4 KiB, depth 32, per request",
    figure: ({ op }) => op,
    args: ["blk", 4096, 32, 20_000, SECTORS],
    on: QSD,
  },
  {
    title: "blk, read 1 MiB, depth 4, per request",
    figure: ({ op }) => op,
    args: ["blk", 1 << 20, 4, 200, SECTORS],
    on: QSD,
  },
  {
    title: "rng, 16 bytes, depth 1, median",
    figure: ({ median }) => median!,
    args: ["rng", 16, 1, 2000],
    on: RNG,
  },
];
const WAKES: readonly (readonly [string, (line: Line) => number])[] = [
  ["from the kick to our model, median", ({ there }) => there!],
  ["from our model to the driver, median", ({ back }) => back!],
];

await using cleanup = new AsyncDisposableStack();
const folder = await Deno.makeTempDir({ prefix: "vireo-bench-" });
cleanup.defer(() => Deno.remove(folder, { recursive: true }));
const image = `${folder}/disk.img`;
await Deno.writeFile(image, new Uint8Array(DISK).fill(7));
const program = `${folder}/front_end`;
await exec(["gcc", "-std=gnu11", "-O2", "-o", program, `${HERE}front_end.c`]);

/** Sockets by what is done and who serves it. */
const sockets = new Map<string, string>();
let count = 0;
async function keep(
  name: string,
  path: string,
  args: readonly string[],
  option?: string,
): Promise<void> {
  sockets.set(name, cleanup.use(await start(path, args, option)).socket);
}
await keep("blk vireo serve", `${ROOT}vireo`, ["serve", "blk", "--blk", image], "--socket");
await keep("rng vireo serve", `${ROOT}vireo`, ["serve", `${HERE}stamped_rng.ts`], "--socket");
await keep("blk qemu-storage-daemon", "qemu-storage-daemon", [
  ...["--blockdev", `driver=file,node-name=f,filename=${image}`],
  ...["--export", "type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path=SOCKET"],
]);
const rust = await Deno.stat(RUST).then(() => true, () => false);
if (!rust) console.error(`vireo: no ${RUST}: 'make peers ROW=vhost-device-rng' compiles it`);

const figures = new Map<string, number[]>();
for (let round = 0; round < rounds; round++) {
  console.error(`vireo: round ${round + 1} of ${rounds}`);
  for (const { title, figure, args, on } of WORKS) {
    for (const front of ["C", "ours"] as const) {
      for (const back of on) {
        const line = await turn(front, back, args);
        if (line === undefined) continue;
        note(key(title, front, back), figure(line));
        if (args[0] !== "rng" || back !== "vireo serve") continue;
        for (const [wake, pick] of WAKES) note(key(wake, front, back), pick(line));
      }
    }
  }
}
const lines = table();
console.log(lines.join("\n"));
if (values.write) {
  const text = await Deno.readTextFile(PAGE);
  const parts = text.split(BEGIN);
  await Deno.writeTextFile(PAGE, [parts[0], `\n${lines.join("\n")}\n`, parts[2]].join(BEGIN));
}

function key(title: string, front: FrontEnd, back: BackEnd): string {
  return `${title}|${front}|${back}`;
}

function note(name: string, value: number): void {
  figures.set(name, [...figures.get(name) ?? [], value]);
}

/** A back end of a process. */
interface Server extends AsyncDisposable {
  readonly socket: string;
}

/** Starts a back end and waits for its socket. */
async function start(
  path: string,
  args: readonly string[],
  option?: string,
  suffix = "",
): Promise<Server> {
  const base = `${folder}/${count++}`;
  const socket = `${base}${suffix}`;
  const child = new Deno.Command(path, {
    args: option === undefined
      ? args.map((arg) => arg.replace("SOCKET", base))
      : [...args, option, base],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const server = {
    socket,
    async [Symbol.asyncDispose](): Promise<void> {
      child.kill("SIGTERM");
      await child.status;
    },
  };
  for (const end = performance.now() + 60_000; performance.now() < end;) {
    if (await Deno.stat(socket).then(() => true, () => false)) return server;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await server[Symbol.asyncDispose]();
  throw new Error(`${path} does not listen`);
}

/** One turn of a front end; undefined if the back end is not there. */
async function turn(
  front: FrontEnd,
  back: BackEnd,
  args: readonly (string | number)[],
): Promise<Line | undefined> {
  if (back !== "vhost-device-rng") {
    return await run(front, sockets.get(`${args[0]} ${back}`)!, args);
  }
  if (!rust) return undefined;
  // It answers no second front end that comes too soon.
  await using server = await start(RUST, ["--max-bytes", "1000000000"], "--socket-path", "0");
  return await run(front, server.socket, args);
}

async function run(
  front: FrontEnd,
  socket: string,
  args: readonly (string | number)[],
): Promise<Line> {
  const words = [socket, ...args].map(String);
  const line = front === "C"
    ? await exec([program, ...words])
    : await exec([Deno.execPath(), "run", "-A", "--no-check", `${HERE}front_end.ts`, ...words], {
      cwd: ROOT,
    });
  return JSON.parse(line) as Line;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >>> 1]!;
}

function table(): string[] {
  const us = (title: string, front: FrontEnd, back: BackEnd): string => {
    const found = figures.get(key(title, front, back));
    return found === undefined ? "" : `${(median(found) / 1000).toFixed(1)} us`;
  };
  /** The median of the ratios of turns that followed one another. */
  const ratio = (over: string, under: string): string => {
    const [a, b] = [figures.get(over), figures.get(under)];
    return a === undefined || b === undefined
      ? ""
      : median(a.map((value, i) => value / b[i]!)).toFixed(2);
  };
  const rows = WORKS.map(({ title, on: [ours, other] }) => [
    title,
    other!,
    us(title, "C", ours!),
    us(title, "C", other!),
    us(title, "ours", ours!),
    us(title, "ours", other!),
    ratio(key(title, "C", ours!), key(title, "C", other!)),
    ratio(key(title, "ours", other!), key(title, "C", other!)),
  ]);
  for (const [wake] of WAKES) {
    const cells = [us(wake, "C", "vireo serve"), "", us(wake, "ours", "vireo serve"), ""];
    const drivers = ratio(key(wake, "ours", "vireo serve"), key(wake, "C", "vireo serve"));
    rows.push([`rng, ${wake}`, "", ...cells, "", drivers]);
  }
  const head = [
    "work",
    "peer",
    "C driver, our device",
    "C driver, peer",
    "our driver, our device",
    "our driver, peer",
    "device ratio",
    "driver ratio",
  ];
  const cpu = /model name\s*: (.*)/.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1];
  const [load] = Deno.loadavg();
  const busy = load! > navigator.hardwareConcurrency
    ? "busy: measure again on a quiet one"
    : "quiet";
  return [
    `Measured on ${new Date().toISOString().slice(0, 10)}, medians of ${rounds} rounds, ` +
    `${navigator.hardwareConcurrency} processors (${cpu ?? Deno.build.arch}), Linux ` +
    `${Deno.osRelease()}, load ${load!.toFixed(1)} at the end: the machine was ${busy}.`,
    "",
    `| ${head.join(" | ")} |`,
    `|${head.map(() => "---").join("|")}|`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
  ];
}
