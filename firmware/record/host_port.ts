import { HostStepKind, type Recorder, type Replay } from "@vireo/drivers/record";
import type { StreamPort } from "@vireo/emu";
import { asError, VireoError } from "@vireo/hal";

const utf8 = new TextEncoder();

/** The host's end of a port, which records what the program gets there. */
export function recordedHostPort(port: StreamPort, recorder: Recorder): StreamPort {
  const nothing = new Uint8Array(0);
  const failed = async (kind: number, error: unknown): Promise<never> => {
    await recorder.host({ kind, bytes: utf8.encode(asError(error).message) });
    throw error;
  };
  // Only what the program reads is a step: nothing is read ahead.
  const noneAhead = { highWaterMark: 0 };
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  const written = async (work: Promise<void>): Promise<void> => {
    await work.catch((error) => failed(HostStepKind.WRITE_FAILED, error));
    await recorder.host({ kind: HostStepKind.WRITTEN, bytes: nothing });
  };
  return {
    readable: new ReadableStream<Uint8Array>({
      async pull(controller) {
        reader ??= port.readable.getReader();
        const { value } = await reader.read()
          .catch((error) => failed(HostStepKind.READ_FAILED, error));
        const kind = value === undefined ? HostStepKind.ENDED : HostStepKind.READ;
        await recorder.host({ kind, bytes: value ?? nothing });
        if (value === undefined) controller.close();
        else controller.enqueue(value);
      },
      cancel: async (reason) => await (reader ??= port.readable.getReader()).cancel(reason),
    }, noneAhead),
    writable: new WritableStream<Uint8Array>({
      write: (bytes) => written((writer ??= port.writable.getWriter()).write(bytes)),
      close: () => written((writer ??= port.writable.getWriter()).close()),
      abort: async (reason) => await (writer ??= port.writable.getWriter()).abort(reason),
    }),
  };
}

/** Steps of one direction, and who waits for the next. */
class Steps {
  readonly #come: (() => Uint8Array | undefined)[] = [];
  #waiting: PromiseWithResolvers<Uint8Array | undefined> | undefined;
  #failure: Error | undefined;

  /** A step: what it gives, or throws. */
  put(step: () => Uint8Array | undefined): void {
    this.#come.push(step);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) this.next().then(waiting.resolve, waiting.reject);
  }

  /** Waits for the next step. */
  async next(): Promise<Uint8Array | undefined> {
    const step = this.#come.shift();
    if (step !== undefined) return step();
    if (this.#failure !== undefined) throw this.#failure;
    return await (this.#waiting = Promise.withResolvers()).promise;
  }

  /** No step comes any more. */
  fail(error: Error): void {
    this.#failure = error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

/** The host's end of a port, which gives a program what it got when it was recorded; what it writes goes nowhere. */
export class ReplayedHostPort implements StreamPort {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #reads = new Steps();
  readonly #writes = new Steps();

  constructor(replay: Replay) {
    this.readable = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const bytes = await this.#reads.next();
        if (bytes === undefined) controller.close();
        else controller.enqueue(bytes);
      },
    }, { highWaterMark: 0 });
    const written = async (): Promise<void> => void await this.#writes.next();
    this.writable = new WritableStream<Uint8Array>({ write: written, close: written });
    const take = (): void => {
      for (let step = replay.hostSteps.shift(); step; step = replay.hostSteps.shift()) {
        this.#take(step.kind, step.bytes);
      }
    };
    replay.onHost = take;
    take();
  }

  /** The driver does something else than then: this end says nothing more. */
  fail(error: Error): void {
    this.#reads.fail(error);
    this.#writes.fail(error);
  }

  #take(kind: number, bytes: Uint8Array): void {
    const failed = (): never => {
      throw new VireoError("HOST_ERROR", new TextDecoder().decode(bytes));
    };
    switch (kind) {
      case HostStepKind.READ:
        // The program may keep it, and change it.
        return this.#reads.put(() => bytes.slice());
      case HostStepKind.ENDED:
        return this.#reads.put(() => undefined);
      case HostStepKind.READ_FAILED:
        return this.#reads.put(failed);
      case HostStepKind.WRITE_FAILED:
        return this.#writes.put(failed);
      default:
        return this.#writes.put(() => undefined);
    }
  }
}
