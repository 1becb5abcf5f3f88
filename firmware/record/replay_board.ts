import { Replay } from "@vireo/drivers/record";
import { VireoError } from "@vireo/hal";
import { ReplayedHostPort } from "./host_port.ts";
import { type RecordedProgram, recordedProgram } from "./program.ts";

/** Replays that a program has opened itself, by the names that stand for them in targets. */
export const REPLAYS: Map<string, Replay> = new Map<string, Replay>();

/** A recording, as a board. */
export class ReplayBoard implements AsyncDisposable {
  /** The machine. */
  readonly platform: Replay;
  /** The host's end of a console port, if the recorded board had one. */
  readonly hostPort: ReplayedHostPort | undefined;
  /** The program that made the recording. */
  readonly program: RecordedProgram;

  private constructor(platform: Replay) {
    this.platform = platform;
    this.program = recordedProgram(platform.program);
    this.hostPort = this.program.hostPort ? new ReplayedHostPort(platform) : undefined;
  }

  /**
   * Opens a recording.
   *
   * @throws {VireoError} `HOST_ERROR` If the file cannot be read; `BAD_MESSAGE` If it is no recording.
   */
  static async open(file: string): Promise<ReplayBoard> {
    return new ReplayBoard(REPLAYS.get(file) ?? new Replay(await readRecording(file)));
  }

  /** Ends the replay. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.platform[Symbol.asyncDispose]();
  }
}

/**
 * Reads a recording's file.
 *
 * @throws {VireoError} `HOST_ERROR` If it cannot be read.
 */
export async function readRecording(file: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(file);
  } catch (cause) {
    throw new VireoError("HOST_ERROR", `Cannot read the recording ${file}`, { cause });
  }
}
