/** A change that no test can see. */
interface Equivalent {
  /** The file. */
  readonly path: string;
  /** The change, as `main.ts` prints it. */
  readonly what: string;
  /** Why it changes no outcome. */
  readonly why: string;
}

/** Changes that no test can see: each is an optimisation that is left out, or done more often. */
export const EQUIVALENTS: readonly Equivalent[] = [
  {
    path: "emu/devices/vsock/device.ts",
    what: "if (full && this.#out.length < BACKLOG) this.#serve(); -> " +
      "if (full || this.#out.length < BACKLOG) this.#serve();",
    why: "Where the backlog was not full the queue has been served: another look finds nothing",
  },
  {
    path: "emu/devices/blk/_order.ts",
    what: "for (let i = this.#list.length - 1; i > 0; i--) { -> " +
      "for (let i = this.#list.length - 1; i >= 0; i--) {",
    why: "One more step of the shuffle changes the first place with itself",
  },
  {
    path: "emu/devices/crypto/device.ts",
    what: "if (iv + src + aad + dst + 1 > this.#maxSize || keyLength > MAX_KEY) { -> " +
      "if (iv + src + aad + dst + 1 > this.#maxSize || keyLength >= MAX_KEY) {",
    why: "A key of just 4096 bytes is refused in any case: RSA keys have 4096 bits at most",
  },
  {
    path: "drivers/rng/driver.ts",
    what: "return bytes.length > CHUNK ? this.#fillAll(bytes, call) : this.#ask(bytes, call); -> " +
      "return bytes.length >= CHUNK ? this.#fillAll(bytes, call) : this.#ask(bytes, call);",
    why: "Either way makes the one request that a chunk is",
  },
  {
    path: "emu/transport/pci/msix.ts",
    what: "for (let vector = 0; vector < this.size; vector++) { -> " +
      "for (let vector = 0; vector <= this.size; vector++) {",
    why: "No vector behind the last is ever pending: what fires is below the size",
  },
  {
    path: "drivers/net/net.ts",
    what: "this.#cancelLater(); -> nothing",
    why:
      "The timers are cancelled again when the queues are freed, and a turn before that finds a broken queue",
  },
];

/** Whether a change is among them. */
export function isEquivalent({ path, what }: Pick<Equivalent, "path" | "what">): boolean {
  return EQUIVALENTS.some((known) => known.path === path && known.what === what);
}
