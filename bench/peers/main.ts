/**
 * Ours beside its peers, or beside another commit of ours: `make bench-peers`, `make bench BASE=COMMIT`.
 * A ratio is our time over the other's: below 1 ours is faster.
 *
 * @module
 */
import { Command as Program } from "@commander-js/extra-typings";
import { exec } from "../../firmware/image/exec.ts";
import { UsageError } from "../../firmware/terminal/usage.ts";
import { buildPeers, type Command, PEERS } from "./build.ts";
import {
  compare,
  type Comparison,
  processes,
  ringtest,
  type Side,
  type Spread,
  withPeer,
} from "./measure.ts";
import { type PeerName, type WorkPlan, WORKS } from "./works.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const PAGE = `${ROOT}docs/performance.md`;
const OURS: Command = [Deno.execPath(), "run", "-A", "bench/peers/ours.ts"];

/** Operations between two looks at the heap. */
const HEAP_COUNT = 20;

/** A row of the table. */
interface Row extends Comparison {
  readonly work: string;
  readonly title: string;
  readonly peer: string;
  readonly goal: number | undefined;
  /** Bytes of heap that an operation allocates, beside another commit of ours. */
  readonly heap?: { readonly ours: number; readonly theirs: number };
}

/** Measurements, and the machine on which they were made. */
interface Report {
  readonly date: string;
  readonly machine: string;
  /** Processes that wanted a processor, on average over the last minute. */
  readonly load: number;
  readonly versions: string;
  readonly command: string;
  readonly rounds: number;
  readonly rows: readonly Row[];
}

if (import.meta.main) {
  const program = new Program("bench-peers")
    .description("ours beside its peers; a ratio below 1: ours is faster")
    .argument("[works...]", WORKS.map(({ name }) => name).join(", "))
    .option("--rounds <n>", "turns of each side", Number, 15)
    .option("--base <commit>", "compare with this commit of ours instead of the peers")
    .option("--json", "print the report as JSON")
    .option("--write", "write docs/performance.md")
    .parse(Deno.args, { from: "user" });
  const { rounds, base, json, write } = program.opts();
  const wanted = WORKS.filter(({ name }) =>
    program.args.length === 0 || program.args.includes(name)
  );
  const rows = base === undefined
    ? await besidePeers(wanted, rounds)
    : await besideBase(wanted, rounds, base).catch((error) => {
      if (!(error instanceof UsageError)) throw error;
      say(error.message);
      Deno.exit(2);
    });
  const report = await describe(
    rows,
    rounds,
    base === undefined ? "make bench-peers" : `make bench BASE=${base}`,
  );
  if (json) console.log(JSON.stringify(report, null, 2));
  else console.log(table(report).join("\n"));
  if (write && base === undefined) await Deno.writeTextFile(PAGE, page(report));
}

/** Says on standard error what is under way: standard output has the table. */
function say(text: string): void {
  console.error(`vireo: ${text}`);
}

async function besidePeers(works: readonly WorkPlan[], rounds: number): Promise<Row[]> {
  say("building the peers in .cache/peers/");
  const commands = await buildPeers();
  const empty = `${PEERS}/empty.ts`;
  await Deno.writeTextFile(empty, "export {};\n");
  const bare: Command = [Deno.execPath(), "run", "--quiet", "--no-config", empty];
  const rows: Row[] = [];
  for (const work of works) {
    for (const [i, peer] of work.peers.entries()) {
      say(`${work.title} beside ${peer}`);
      const found = work.words === undefined
        ? await besidePeer(work.name, peer, commands.get(peer), rounds)
        : await compare(work.name, whole(ROOT, work.words), processes(bare), rounds, 1);
      rows.push({ work: work.name, title: work.title, peer, goal: work.goals[i], ...found });
    }
  }
  return rows;
}

/** Measures a work that both sides do in a process that answers lines, or in one of ringtest's. */
function besidePeer(
  work: string,
  peer: PeerName,
  command: Command | undefined,
  rounds: number,
): Promise<Comparison> {
  return withPeer("Vireo", OURS, (ours) => {
    const against = (theirs: Side) => compare(work, ours, theirs, rounds);
    // Ours as well, with one device where the work has many.
    if (command === undefined) {
      return withPeer(peer, OURS, (one) => against((_, count) => one(`${work}-one`, count)), ROOT);
    }
    if (peer.startsWith("ringtest ")) return against(ringtest(command));
    return withPeer(peer, command, against);
  }, ROOT);
}

/** A command line of a tree of ours, as its launcher starts it. */
function whole(root: string, words: readonly string[]): Side {
  const flags = [
    "-A",
    "--quiet",
    "--unstable-lazy-dynamic-imports",
    "--config",
    `${root}/deno.json`,
  ];
  return processes([Deno.execPath(), "run", ...flags, `${root}/firmware/main.ts`, ...words]);
}

/** Beside another commit, whose works are this tree's, so that both do the same. */
async function besideBase(
  works: readonly WorkPlan[],
  rounds: number,
  base: string,
): Promise<Row[]> {
  const git = (...args: string[]): Promise<string> => exec(["git", "-C", ROOT, ...args]);
  const name = (await git("rev-parse", "--verify", `${base}^{commit}`)).trim();
  const tree = `${PEERS}/base`;
  await Deno.mkdir(PEERS, { recursive: true });
  await git("worktree", "prune");
  await git("worktree", "add", "--force", "--detach", tree, name);
  const rows: Row[] = [];
  try {
    await exec(["cp", "-r", `${ROOT}bench`, tree]);
    await exec(["cp", `${ROOT}emu/ring/split_bench.ts`, `${tree}/emu/ring/split_bench.ts`]);
    await checkImports(name, tree);
    for (const work of works) {
      say(`${work.title} beside ${name.slice(0, 12)}`);
      const both = async (ours: Side, theirs: Side) => {
        const found = await compare(work.name, ours, theirs, rounds);
        // Counted, so the same on a busy machine; two threads that spin allocate nothing.
        if (work.name.startsWith("two-")) return found;
        const bytes = (side: Side): Promise<number> => side(`bytes:${work.name}`, HEAP_COUNT);
        return { ...found, heap: { ours: await bytes(ours), theirs: await bytes(theirs) } };
      };
      const { words } = work;
      const found = words === undefined
        ? await withPeer(
          "Vireo",
          OURS,
          (ours) => withPeer(base, OURS, (theirs) => both(ours, theirs), tree),
          ROOT,
        )
        : await compare(work.name, whole(ROOT, words), whole(tree, words), rounds, 1);
      rows.push({
        work: work.name,
        title: work.title,
        peer: name.slice(0, 12),
        goal: undefined,
        ...found,
      });
    }
  } finally {
    await git("worktree", "remove", "--force", tree);
  }
  return rows;
}

/** Says what the works import that another commit does not have, before anything is measured. */
async function checkImports(name: string, tree: string): Promise<void> {
  const [program = "", ...args] = OURS;
  const { success, stderr } = await new Deno.Command(program, {
    args,
    cwd: tree,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  if (success) return;
  const [reason] = new TextDecoder().decode(stderr).split("\n", 1);
  throw new UsageError(`Cannot measure beside ${name}, where other files are: ${reason}`);
}

async function describe(rows: readonly Row[], rounds: number, command: string): Promise<Report> {
  const cpu = /model name\s*: (.*)/.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ??
    Deno.build.arch;
  const [load] = Deno.loadavg();
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${navigator.hardwareConcurrency} processors (${cpu}), Linux ${Deno.osRelease()}, ` +
      `load ${load!.toFixed(1)} at the end`,
    load: load!,
    versions: `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`,
    command,
    rounds,
    rows,
  };
}

function time(nanoseconds: number): string {
  if (nanoseconds < 1000) return `${nanoseconds.toFixed(1)} ns`;
  return nanoseconds < 1e6
    ? `${(nanoseconds / 1000).toFixed(2)} us`
    : `${(nanoseconds / 1e6).toFixed(1)} ms`;
}

function ratio({ median, low, high }: Spread): string {
  return `${median.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

function change({ ours, theirs }: { readonly ours: number; readonly theirs: number }): string {
  return `${Math.round(theirs)} to ${Math.round(ours)}`;
}

function table({ rows, machine, versions, command, rounds }: Report): string[] {
  const counted = rows.some(({ heap }) => heap !== undefined);
  const cells = [
    ["work", "beside", "ours", "theirs", "ratio (middle half)", counted ? "heap bytes" : "goal"],
    ...rows.map((row) => [
      row.title,
      row.peer,
      time(row.ours.median),
      time(row.theirs.median),
      ratio(row.ratio),
      row.heap === undefined ? `${row.goal ?? ""}` : change(row.heap),
    ]),
  ];
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const lines = cells.map((row) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  );
  lines.splice(1, 0, `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`);
  return [`${command}: medians of ${rounds} turns each; ${machine}; ${versions}`, "", ...lines];
}

/** The page: the table, and what each row means. */
function page(report: Report): string {
  // On a machine that does other work the two sides of a turn do not get the same of it.
  const busy = report.load > navigator.hardwareConcurrency
    ? "**The machine was busy: measure again on a quiet one before you believe a row.** "
    : "";
  let last = "";
  const missed = report.rows.flatMap(({ work, title, peer, ratio: { median }, goal }) => {
    if (goal === undefined || median <= goal) return [];
    const reason = WORKS.find(({ name }) => name === work)!.reason ?? "Not measured";
    const why = reason === last ? "The same" : reason;
    last = reason;
    return [`| ${title} | ${peer} | ${median.toFixed(2)} | ${goal} | ${why}. |`];
  });
  const meanings = WORKS.map(({ name, title, meaning }) => `- ${title} (\`${name}\`): ${meaning}.`);
  return `# Performance

\`make bench-peers\` builds the peers from their registries into \`.cache/peers/\`, measures each work on both
sides by turns, and writes this page. A ratio is our time over the peer's: below 1 ours is faster. The middle half of
the ratios of single turns is in parentheses. \`make bench BASE=COMMIT\` compares this tree with another commit in the
same way. What a ratio hides is said below the table.

Measured on ${report.date}. ${busy}${table(report).join("\n")}

## What the rows mean
${meanings.join("\n")}

## What is missed and why, measured
Shares are of processor time, by \`perf\`; nanoseconds are of the same machine, by processor time of one thread. Of loop.ts
both rows of a work say how far the language is from the peer, and how far we are from the language.

| work | beside | ratio | goal | why |
|---|---|---|---|---|
${missed.join("\n")}

Tried and not kept, as it gained 3% or less: typed arrays of a ring that begin as empty ones instead of undefined (1 to
2%); a count of the buffers in flight from the two indices (2%), and one of a list's elements (0); the used index stored
plainly right before the device's atomic store of avail_event (2% of rng); one ordered store of used_event where the
driver finds no more buffers, instead of one a buffer (3% of net in batches, 0 elsewhere).
Not kept either: a fence by WebAssembly. \`atomic.fence\` is 30 ns and a locked addition 16 to 21, against 21 to 25 of
\`Atomics.store\`. Nor one file of all modules for the command line: \`vireo probe\`, 142 ms of processor time, takes 171
so, and 103 to 107 from files split by command, minified or not, with V8's code cache; 3 more go to the sizes and times
of 210 modules that show whether the files are old. That is 1.3 times less, for traces that name other files.

## What is counted
Some costs are the same on every machine, so tests hold them to a bound:
- heap that one operation allocates, and timers that it sets: \`tests/machine/allocations_test.ts\`;
- DMA memory of an idle disk and of an idle console port: \`tests/machine/idle_memory_test.ts\`;
- messages to QEMU that probing a board takes: \`tests/qtest/messages_test.ts\`;
- modules that a command reads: \`tests/cli/help_modules_test.ts\`.

A receiver owns its frame, and a caller's \`await\` allocates too: of the 0.85 KB of a frame by promise these are 0.5.
A promise that is not settled yet is 0.2 of the 0.4 KB of a read of a disk, the emulated disk's view 0.1. A read of 9p
allocates 1 KB: 0.2 are the caller's array, 0.4 the promise of the request and what continues it. A stat by path is
three requests and allocates 5.2 KB, of which 2 are the emulated server's and 0.6 its result.

## Many devices
One request on each of 256 disks in turn takes 2.7 to 3.6 times as long as 256 on one; on 16 of them it takes no longer.
Nothing is looked for among devices: what costs is memory. A request touches 10 pages of its device (counted by
\`/proc/self/clear_refs\`: queue, buffers, disk and objects), so 256 devices do not fit into the 1 MiB cache and the
TLB of a core. A loop in C that only adds up 8 lines on each of 10 pages of its own for each of 256 devices
takes 6 to 10 times as long as on one (2.9 us against 0.3 us), and 1.2 times on 64.

## In a guest
\`make bench-guest\` runs our drivers and Linux's own in one guest, on the same devices of QEMU, by turns; above 1 ours is
faster. Measured on 2026-11-28 on x86_64 under TCG (3 rounds; one processor, and two with \`--smp 2\`), at the median and in all time:

| work | median, 1 | all time, 1 | median, 2 | all time, 2 |
|---|---|---|---|---|
| 4 KiB, depth 1, promise | 1.73 | 1.11 | 2.23 | 1.35 |
| 4 KiB, depth 32, promise | 1.12 | 0.66 | 1.01 | 1.06 |
| 4 KiB, depth 32, batch | 1.52 | 0.55 | 1.52 | 1.39 |
| 1 MiB, promise | 0.44 | 0.23 | 0.59 | 0.47 |
| 1 MiB, batch | 1.45 | 1.16 | 1.68 | 1.32 |
| ping | 0.30 | 0.24 | 0.38 | 0.28 |

The goal is 1 at the median everywhere. A read of 1 MiB by promise copies it, by batch it does not: that is the difference. A ping
is some steps of promises, each of 20 to 50 us under TCG. What is lost beside the median is V8's compiler and collector, which
share one processor with us: with a second one the disk's works lose nothing any more. The slowest of a hundred requests
still take 2 to 10 times as long as Linux's, 3 to 25 times with one processor: V8 also collects in our own thread.

## Devices of other processes
\`make bench-vhost-user\` measures our driver and our devices over vhost-user beside QEMU's storage daemon, rust-vmm's
entropy daemon and a loop in C, by turns; [vhost-user.md](vhost-user.md) has the table.

## The peers
- \`virtio-drivers\` and \`virtio-queue\`: the crates of \`bench/peers/rust/Cargo.toml\`, in one program.
- \`v86\`: its queue from the readable build of the npm package, with the calls of its log and assertions removed.
- \`ringtest\`: \`tools/virtio/ringtest\` of Debian's \`linux-source\` package, with its own Makefile.
- \`loop.c\`: \`bench/peers/loop.c\`; \`loop.ts\`: the same in JavaScript, and bare promises.
`;
}
