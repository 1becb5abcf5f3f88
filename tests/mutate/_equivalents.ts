/** A change, as `main.ts` prints it. */
interface Change {
  readonly path: string;
  readonly what: string;
}

/** A change that no test can see. */
interface Equivalent {
  /** The file. */
  readonly path: string;
  /** The change, as `main.ts` prints it, or what all such changes of the file match. */
  readonly what: string | RegExp;
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
    path: "emu/ring/copier.ts",
    what: /\blength > (?:SMALL|FEW)\b.* -> .*\blength >= (?:SMALL|FEW)\b/,
    why: "The lengths only choose the fastest of ways that copy the same bytes",
  },
  {
    path: "emu/devices/blk/_order.ts",
    what: "for (let i = this.#list.length - 1; i > 0; i--) { -> " +
      "for (let i = this.#list.length - 1; i >= 0; i--) {",
    why: "One more step of the shuffle changes the first place with itself",
  },
  {
    path: "emu/devices/crypto/device.ts",
    what: "if (total > this.#maxSize || Math.max(keyLength, authLength) > MAX_KEY) { -> " +
      "if (total > this.#maxSize || Math.max(keyLength, authLength) >= MAX_KEY) {",
    why:
      "A key of just 4096 bytes is refused in any case: RSA keys have 4096 bits at most, those of MACs 128 bytes",
  },
  {
    path: "drivers/virtqueue/fill_pool.ts",
    what: "return into.length > this.#size -> return into.length >= this.#size",
    why: "Either way makes the one request that a chunk is",
  },
  {
    path: "drivers/virtqueue/fill_pool.ts",
    what: "while (next < bytes.length) { -> while (next <= bytes.length) {",
    why: "One more part has no bytes, and is asked of no device",
  },
  {
    path: "drivers/virtqueue/fill_pool.ts",
    what: "#held = false; -> #held = true;",
    why: "Nobody reads it before the first request, which sets it",
  },
  {
    path: "drivers/transport/pci/interrupts.ts",
    what: "const more = missing > 0 ? this.#fn.lease.messages(missing) : []; -> " +
      "const more = missing >= 0 ? this.#fn.lease.messages(missing) : [];",
    why: "A machine that is asked for no messages gives none",
  },
  {
    path: "drivers/transport/pci/interrupts.ts",
    what: "table.write32(entry + MSIX_ENTRY.address.offset, lo32(address)); -> " +
      "table.write32(entry - MSIX_ENTRY.address.offset, lo32(address));",
    why: "The address is the first field: its offset is 0",
  },
  {
    path: "emu/transport/pci/msix.ts",
    what: "for (let vector = 0; vector < this.size; vector++) { -> " +
      "for (let vector = 0; vector <= this.size; vector++) {",
    why: "No vector behind the last is ever pending: what fires is below the size",
  },
  {
    path: "hal/vhost_user/net_control_queue.ts",
    what:
      "used.setUint16(PACKED.flags, (available | returned) & (this.#wrap ? 0xffff : 0), true); -> " +
      "used.setUint16(PACKED.flags, (available | returned) & (this.#wrap ? 0xffff : 0), false);",
    why: "Both flags are the same bit, one of each byte: 0x8080 and 0 have no byte order",
  },
  {
    path: "hal/discover/pci_scan.ts",
    what: "let bus = behind + 1; -> let bus = behind;",
    why: "The bus behind which a number is looked for has been entered: its own is taken",
  },
  {
    path: "hal/unix/libc.ts",
    what: "if (sent < 0 && this.#errno() !== EINTR) return false; -> " +
      "if (sent <= 0 && this.#errno() !== EINTR) return false;",
    why: "A send of at least one byte sends one, or fails",
  },
  {
    path: "drivers/net/net.ts",
    what: "this.#cancelLater(); -> nothing",
    why:
      "The timers are cancelled again when the queues are freed, and a turn before that finds a broken queue",
  },
  {
    path: "drivers/transport/mmio.ts",
    what:
      "this.#mmio.write32(Register.QueueNotify, data < 0 ? index : ((data << 16) | index) >>> 0); -> " +
      "this.#mmio.write32(Register.QueueNotify, data <= 0 ? index : ((data << 16) | index) >>> 0);",
    why: "With data of 0 both are the index",
  },
  {
    path: "drivers/bus/_bus_device.ts",
    what: "frozenFailed = false; -> nothing",
    why:
      "A field that is not there is as false, and no type check runs before the tests of a change",
  },
  {
    path: "drivers/bus/_dispatcher.ts",
    what: /if \(idle > 0\b.* -> if \(idle >= 0\b/,
    why: "A line that is not idle has no use for the clock, which says nothing new of it",
  },
  {
    path: "drivers/console/_sender.ts",
    what: /#free\.length \* this\.#size < bytes\.length.* -> .*#size <= bytes\.length/,
    why: "What has just the room that it needs is sent in the same buffers by either way",
  },
  {
    path: "drivers/console/_sender.ts",
    what: "this.#spare = ticket; -> nothing",
    why: "The next write makes a ticket instead of using this one again",
  },
  {
    path: "drivers/console/_sender.ts",
    what: /return bytes\.length <= this\.#size \? bytes .* -> return bytes\.length < this\.#size /,
    why: "The part from 0 to the end has the same bytes",
  },
  {
    path: "drivers/console/_sender.ts",
    what:
      /^(?:return true|return this\.idle \? true|if \(ticket\.left === 0 && .* return true).* -> .*false/,
    why: "A wait ends with any value but undefined, and nobody looks at this one",
  },
  {
    path: "drivers/console/_sender.ts",
    what: /i < this\.#tickets\.length; i\+\+.* -> .*i <= this\.#tickets\.length/,
    why: "There is no ticket behind the last: nothing is released",
  },
  {
    path: "drivers/console/_receiver.ts",
    what:
      /^(?:let empty = false;|return false;|if \(this\.#ready === this\.#states\.length\) return false;) -> .*true;$/,
    why: "One more fill posts nothing: only forget() leaves buffers free, and a fill follows it",
  },
  {
    path: "drivers/console/_receiver.ts",
    what: /i < this\.#states\.length; i\+\+.* -> .*i <= this\.#states\.length/,
    why: "There is no buffer behind the last: it is in no state",
  },
  {
    path: "drivers/net/_rx_queue.ts",
    what: "if (count > 0) this.queue.kick(); -> if (count >= 0) this.queue.kick();",
    why: "A kick without new buffers tells the device nothing",
  },
  {
    path: "drivers/virtqueue/request_queue.ts",
    what: "if (token < this.#taken.length) this.#freeTokens.push(token); -> " +
      "if (token <= this.#taken.length) this.#freeTokens.push(token);",
    why: "The next new token is the same one, from the list of free ones or not",
  },
  {
    path: "drivers/virtqueue/request_queue.ts",
    what: "late = false; -> late = true;",
    why: "A request that is late is not used again: the next one is made instead",
  },
  {
    path: "drivers/net/net.ts",
    what: /const sane = offered >= 1 .* -> const sane = offered > 1 /,
    why: "Of one pair, as of a number that makes no sense, it has one",
  },
  {
    path: "hal/barrier.ts",
    what: 'Deno.build.arch === "x86_64" -> Deno.build.arch !== "x86_64"',
    why:
      "Both loads see the same word: an atomic one is slower, and a plain one is as ordered on x86-64",
  },
  {
    path: "firmware/check/driver/run_driver.ts",
    what: "stuck = false; -> nothing",
    why:
      "A field that is not there is as false, and no type check runs before the tests of a change",
  },
  {
    path: "firmware/check/driver/ring_witness.ts",
    what: "for (let i = 0; i < 2 * size; i++) { -> for (let i = 0; i <= 2 * size; i++) {",
    why: "A ring and a table have no more descriptors: one more step comes to one that is known",
  },
  {
    path: "firmware/check/driver/ring_witness.ts",
    what: "for (let i = 0; i < geometry.size; i++) { -> for (let i = 0; i <= geometry.size; i++) {",
    why:
      "A round later the first descriptor would have to be available with the other wrap counter",
  },
  {
    path: "drivers/trace/words/others.ts",
    what: /at \+ BALLOON_STAT\.tag\.offset.* -> .*at - BALLOON_STAT\.tag\.offset/,
    why: "The tag is the first field: its offset is 0",
  },
  {
    path: "drivers/trace/stats.ts",
    what:
      "for (let step = 0; step < STEPS; step++) { -> for (let step = 0; step <= STEPS; step++) {",
    why: "There is no count behind the last: the longest time is given, as without a look there",
  },
];

/** Whether a change is the known one, or of its kind. */
export function isKnown(known: Equivalent, { path, what }: Change): boolean {
  if (known.path !== path) return false;
  return typeof known.what === "string" ? known.what === what : known.what.test(what);
}

/** Whether a change is among them. */
export function isEquivalent(change: Change): boolean {
  return EQUIVALENTS.some((known) => isKnown(known, change));
}
