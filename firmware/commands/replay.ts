import type { Divergence } from "@vireo/drivers/record";
import { parseRecording, recordingLines, RecordReader } from "@vireo/drivers/record";
import { type RecordedProgram, recordedProgram } from "../record/program.ts";
import { readRecording } from "../record/replay_board.ts";
import { withReplay } from "../record/replay_program.ts";
import { type BoardOptions, DEFAULT_BOARD } from "../target/options.ts";
import type { CommandRow } from "./command.ts";
import { openSink } from "../terminal/files.ts";
import { report } from "../terminal/report.ts";
import { Finished, UsageError } from "../terminal/usage.ts";

/** Flags of `vireo replay`. */
interface ReplayFlags {
  readonly script?: string | undefined;
  readonly toTest?: string | undefined;
  readonly list?: true | undefined;
}

/**
 * `vireo replay`: runs the recorded command with the recording in place of the devices.
 *
 * @throws {Finished} With exit code 1 if the driver did something else, with 0 if the recording is cut and the driver did
 * the same up to there, with 1 if it is damaged, else with that of the command.
 * @throws {UsageError} If the command cannot be run here.
 */
export async function replay(
  board: BoardOptions,
  recording: string,
  { script, toTest, list }: ReplayFlags,
  find: (name: string) => CommandRow | undefined,
): Promise<void> {
  const { trace, traceDevices, traceFile, traceData, stats } = board;
  const bytes = await readRecording(recording);
  if (list) return console.log(recordingLines(bytes).join("\n"));
  if (toTest !== undefined) return await writeTest(bytes, recording, toTest);
  const traced = { trace, traceDevices, traceFile, traceData, stats };
  const outcome = await withReplay(bytes, async (target, program) => {
    await runCall({ ...DEFAULT_BOARD, ...traced, target }, program, { script, find });
  });
  const { diverged, steps, error } = outcome;
  // A script that cannot be loaded takes no step.
  if (error instanceof UsageError) throw error;
  if (diverged !== undefined) throw new Finished(sayDivergence(diverged));
  console.error(`vireo: replay: the driver took all ${steps} steps as in the recording`);
  if (error !== undefined) throw error;
}

function sayDivergence({ step, recorded, now, cut, damaged }: Divergence): number {
  if (damaged) {
    console.error(`vireo: replay: the recording is damaged after step ${step - 1}`);
    return 1;
  }
  if (cut) {
    console.error(
      `vireo: replay: the recording is cut after step ${step - 1}; all up to there is the same`,
    );
    return 0;
  }
  console.error(`vireo: replay: step ${step} differs`);
  console.error(`  recorded: ${recorded}`);
  console.error(`  now:      ${now}`);
  return 1;
}

/** Runs the command of a recording. */
async function runCall(
  board: BoardOptions,
  { call, script }: RecordedProgram,
  { script: other, find }: {
    readonly script: string | undefined;
    readonly find: (name: string) => CommandRow | undefined;
  },
): Promise<void> {
  if (call === undefined) {
    throw new UsageError("replay: a program made it, not a command: use replayProgram() for it");
  }
  const row = find(call.name);
  if (row === undefined) throw new UsageError(`replay: there is no command '${call.name}'`);
  await using stack = new AsyncDisposableStack();
  let { args } = call;
  if (call.name === "run") {
    args = [other ?? await scriptFile(script, args, stack), ...args.slice(1)];
  }
  try {
    await row.run({ board, flags: call.flags, args });
  } catch (error) {
    // The script's own end: it is said before the outcome is.
    if (error instanceof Finished || error instanceof UsageError) throw error;
    throw new Finished(report(error));
  }
}

/** The recorded script: where it was, or as it was if it is not there any more. */
async function scriptFile(
  script: RecordedProgram["script"],
  [given]: readonly (string | readonly string[] | undefined)[],
  stack: AsyncDisposableStack,
): Promise<string> {
  const path = script?.path ?? String(given);
  try {
    await Deno.stat(path);
    return path;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    if (script === undefined) {
      throw new UsageError(
        `replay: ${path} is not there, and its text is not recorded: use --script`,
      );
    }
  }
  const file = await Deno.makeTempFile({ prefix: "vireo-replay-", suffix: ".ts" });
  stack.defer(() => Deno.remove(file));
  await Deno.writeTextFile(file, script.text);
  return file;
}

/** Writes a test whose devices do what the recording says, line by line. */
async function writeTest(bytes: Uint8Array, recording: string, file: string): Promise<void> {
  const { call, script } = recordedProgram(new RecordReader(bytes).header.program);
  if (call?.name !== "run" || script === undefined) {
    throw new UsageError("replay: --to-test needs a recording of 'vireo run SCRIPT'");
  }
  const [header, ...lines] = recordingLines(bytes);
  // The test imports the script: it need not have its text.
  const { program, ...machine } = JSON.parse(header!.replace("header ", ""));
  const short = { ...machine, program: { ...program, script: undefined } };
  const text = [`header ${JSON.stringify(short)}`, ...lines].join("\n");
  parseRecording(text);
  const quoted = text.replaceAll(/[\\`$]/g, "\\$&");
  const source = TEST.replaceAll("SCRIPT", () => new URL(`file://${script.path}`).pathname)
    .replace("RECORDING", () => recording.replace(/^.*\//, ""))
    .replace("LINES", () => quoted);
  using sink = await openSink(file, "--to-test");
  await sink.write(new TextEncoder().encode(source));
}

const TEST =
  `// Written by 'vireo replay RECORDING --to-test'. The devices are scripted below, a line a step; what stands
// behind a # is for readers. Change lines to see what the driver does.
import { assertEquals } from "@std/assert";
import { parseRecording, replayProgram } from "@vireo/firmware/record";
import main from "SCRIPT";

const DEVICES = \`
LINES
\`;

Deno.test("replay: the driver does what was recorded", async () => {
  const { diverged } = await replayProgram(parseRecording(DEVICES), main);
  assertEquals(diverged, undefined);
});
`;
