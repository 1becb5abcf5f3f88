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
    path: "emu/ring/copier.ts",
    what: /^(?:return length > SMALL .* -> .*\b[ab] >= NEAR|this\.#array = array; -> nothing$)/,
    why:
      "A limit only chooses the fastest of ways, and a view that is made again sees the same bytes",
  },
  ...["split", "packed"].map((ring): Equivalent => ({
    path: `emu/ring/${ring}.ts`,
    what: /offset \+ bytes <= memory\.size.* -> .*offset (?:\+ bytes < memory|> 0 )/,
    why: "A buffer at either end of memory is taken by the walk, which does the same more slowly",
  })),
  {
    path: "emu/ring/chain.ts",
    what: new RegExp(
      [
        / \? left : total - done; -> .*left <= total - done \?/,
        /^const less = a < b .* -> .*a <= b/,
        /^return less < c .* -> .*less <= c/,
        /this\.#writeAt > this\.written\) .* -> .* >= /,
        /^while \(element < this\.#count .* -> while \(element <= /,
      ].map(({ source }) => source).join("|"),
    ),
    why:
      "Of two equal numbers either is the least and the greatest, and behind the last element all are one end",
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
    what: /at \+ MSIX_ENTRY\.address\.offset\b.* -> .*at - MSIX_ENTRY\.address\.offset/,
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
    path: "hal/barrier.ts",
    what: 'Deno.build.arch === "x86_64" -> Deno.build.arch !== "x86_64"',
    why:
      "Both loads see the same word: an atomic one is slower, and a plain one is as ordered on x86-64",
  },
  {
    path: "emu/devices/p9/memory_tree.ts",
    what: "if (end > node.size) this.#resize(node, end); -> " +
      "if (end >= node.size) this.#resize(node, end);",
    why: "A file that gets the size that it has stays as it is, and its times are set behind that",
  },
  {
    path: "emu/devices/blk/_ranges.ts",
    what: "for (let i = 0; i < count; i++) { -> for (let i = 0; i <= count; i++) {",
    why:
      "Behind its last range a request reads as zeroes: a range of nothing, which the arrays have no place for",
  },
  {
    path: "emu/devices/blk/_ranges.ts",
    what:
      "for (let i = 0; i < offsets.length; i++) { -> for (let i = 0; i <= offsets.length; i++) {",
    why: "Behind the last range the arrays have no numbers, and no zone is at what is none",
  },
  {
    path: "emu/devices/blk/zones.ts",
    what: /at \+ zone_sectors\.offset\b.* -> .*at - zone_sectors\.offset/,
    why: "The size of a zone is the first field: its offset is 0",
  },
  {
    path: "emu/devices/blk/zones.ts",
    what: "for (let zone = 0; zone < this.count; zone++) { -> " +
      "for (let zone = 0; zone <= this.count; zone++) {",
    why: "What is behind the last zone has no state: it is neither active nor full",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /^if \(x >= p .* y >= p .* y > p /,
    why: "A y of the prime itself is 0, and a curve of prime order has no such point",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /^if \(r === undefined .*(?:r > n |r < 1n && r >= n)/,
    why:
      "The number that r is compared with is below the order, and no multiple of the base point is known with one of 0",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /^if \(r !== 0n .* s !== 0n\) return tlv/,
    why: "Nobody knows a key and a digest for which one of them is 0",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /^if \(number >= 1n && number < n\) yield number/,
    why: "Nobody knows a key and a digest for which the first number is none of these",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /^return mod\(over > 0 .*\(over >= 0 /,
    why: "A shift by 0 bits is none",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /^while \(bytes\.length < size\) .* <= size/,
    why:
      "More bytes than are used come from the chain only where the first number is refused, of which nobody knows a case",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /^if \(z === 0n .*\(z === 0n && y === 0n/,
    why: "Twice the point at infinity has a z of 0 again, and no point has a y of 0",
  },
  {
    path: "emu/devices/crypto/_ecdsa.ts",
    what: /length > 0x7f .*length >= 0x7f \? \[0x81/,
    why:
      "Signatures have 127 bytes only with numbers that are bytes shorter than those of any curve",
  },
  {
    path: "emu/devices/crypto/_algorithms.ts",
    what: /aes-192-ecb", key, null\)\.setAutoPadding\(false\) -> .*createCipheriv.*true/,
    why: "The block that padding would add comes with the end of the engine, which nobody reads",
  },
  {
    path: "emu/devices/crypto/_algorithms.ts",
    what: "engine.final(); -> nothing",
    why: "It only lets go of the engine: whole blocks came out before",
  },
  {
    path: "emu/devices/crypto/_algorithms.ts",
    what: /^for \(let at = 0; at < src\.length; .* at <= src\.length; /,
    why: "The block behind the last one is empty, and has no place in the result",
  },
  {
    path: "emu/devices/crypto/_algorithms.ts",
    what: /^for \(let i = 0; i < BLOCK; .* i <= BLOCK; /,
    why: "There is no byte behind a block before: what it is combined with stays",
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
