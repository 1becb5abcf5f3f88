import type { Field, Interrupt, InterruptWait } from "@vireo/hal";

/** Where the first capability of the list is that matches; 0 for none. */
export function findCapability(space: Uint8Array, matches: (at: number) => boolean): number {
  let at = space[0x34]! & ~3;
  for (let i = 0; i < 48 && at >= 0x40; i++) {
    if (matches(at)) return at;
    at = space[at + 1]! & ~3;
  }
  return 0;
}

/** Name of the field at an offset of a struct; `..._hi` for the second half of a wide one. */
export function fieldName(
  layout: Readonly<Record<string, Field | number>>,
  offset: number,
): string | undefined {
  for (const [name, field] of Object.entries(layout)) {
    if (typeof field !== "object") continue;
    if (offset === field.offset) return name;
    // Half of a 64-bit field.
    if (offset === field.offset + 4 && field.size === 8) return `${name}_hi`;
  }
  return undefined;
}

/** Reads a little-endian number. */
export function read(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value += (bytes[offset + i] ?? 0) * 2 ** (8 * i);
  return value;
}

/** Writes a little-endian number. */
export function write(bytes: Uint8Array, offset: number, width: number, value: number): void {
  for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i);
}

/** An interrupt that is pulsed, or active while its source says so. */
export class PulsedLine implements Interrupt {
  readonly polled: boolean;
  readonly #active: () => boolean;
  readonly #waiting = new Set<() => void>();
  #latched = false;

  constructor(polled: boolean, active: () => boolean) {
    this.polled = polled;
    this.#active = active;
  }

  wait({ signal }: InterruptWait): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const latched = this.#latched;
      this.#latched = false;
      if (latched || this.#active()) return resolve();
      const aborted = (): void => {
        this.#waiting.delete(done);
        reject(signal.reason);
      };
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", aborted);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", aborted, { once: true });
    });
  }

  pulse(): void {
    if (this.#waiting.size === 0) this.#latched = true;
    this.wake();
  }

  update(): void {
    if (this.#active()) this.wake();
  }

  wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
