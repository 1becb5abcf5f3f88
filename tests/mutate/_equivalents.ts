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
    what:
      /^(?:if \(full && this\.#out\.length < BACKLOG\) .* -> if \(full (?:\|\| .* < |&& .* <= )|const full = .* > BACKLOG)/,
    why: "Where the backlog was not full the queue has been served: another look finds nothing",
  },
  {
    path: "emu/devices/vsock/device.ts",
    what: /^const count = this\.#out\.length === 0 .* -> .* !== 0 /,
    why: "A stream that is woken too early looks for room again, and waits again",
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
    what:
      /offset \+ bytes <= memory\.size.* -> .*offset (?:\+ bytes < memory|> 0 )|^if \(head <= .* -> if \(head < this\.#mask && /,
    why:
      "What is at the end of memory or of a table is taken by the walk, which does the same more slowly",
  })),
  ...["split", "packed"].map((ring): Equivalent => ({
    path: `emu/ring/${ring}.ts`,
    what: /^(?:if \(this\.#spare === undefined\) this\.#spare = own;|this\.#copier = .*;) -> /,
    why:
      "Without a spare chain the pool has one, and without a shared copier each chain makes its own",
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
    path: "emu/transport/vhost_user/device.ts",
    what: /\b(?:fd|call|error) (?:>=|<) 0\b.* -> .*\b(?:fd|call|error) (?:>|<=) 0\b/,
    why: "No descriptor of a queue is 0: that is the input of the process, even if it has none",
  },
  {
    path: "emu/ring/event_suppression.ts",
    what: /^this\.#(?:place = event|mode = mode); -> nothing$/,
    why: "They only save a store: one that is repeated writes what is there",
  },
  {
    path: "emu/ring/traced.ts",
    what: /^(?:#called = false;|const called = \{ now: false \};) -> /,
    why: "Each signal sets it before a call can come",
  },
  {
    path: "emu/ring/traced.ts",
    what: "this.#given.delete(slot); -> nothing",
    why: "A slot is offered before it is taken again, which replaces what is kept",
  },
  {
    path: "emu/transport/vhost_user/server.ts",
    what: /^for \(let i = 0; i < BATCH .* i <= BATCH /,
    why: "Others have their turn a message later",
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
    path: "drivers/gpu/canvas.ts",
    what: /^for \(let column = 0; column < 5; .* -> .*column <= 5/,
    why: "A character has no sixth column: what is no number has no bits",
  },
  {
    path: "drivers/gpu/canvas.ts",
    what: /^for \(let row = 0; row < 7; .* -> .*row <= 7/,
    why: "No character has an eighth row: its bit is 0",
  },
  {
    path: "drivers/gpu/canvas.ts",
    what: /^for \(let x = 0; x < width; .* -> .*x <= width/,
    why: "The column behind the last is outside of the picture, and cut off",
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
    path: "emu/transport/pci/registers.ts",
    what: /L\.SIZE \+ M\.config_msix_vector\.offset.* -> .*L\.SIZE - /,
    why: "The vector is the first field: its offset is 0",
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
    path: "hal/unix/message_socket.ts",
    what: /; at \+ CMSG_HEADER <= end.* -> .*; at \+ CMSG_HEADER < end/,
    why: "A control message that is no longer than its header has no descriptors",
  },
  {
    path: "hal/vhost_user/front_end.ts",
    what: /^if \(performance\.now\(\) < this\.#awayUntil\).* -> .* <= /,
    why: "The clock is finer than a look takes: it is never at just that time",
  },
  {
    path: "hal/bits.ts",
    what: /; bit < FEATURE_BITS; .*; bit <= FEATURE_BITS; /,
    why: "No set has a bit behind the last",
  },
  {
    path: "hal/region_allocator.ts",
    what: /^(?:if \(this\.#map\.size < 2 |for \(let i = (?:sure|own); .* -> .* <= )/,
    why:
      "A map may be made again at any time; there is no class behind the last, and of the sure one every hole fits",
  },
  {
    path: "hal/unix/poller.ts",
    what: /^(?:#stale = true|#parked = false|this\.#(?:stale|parked) = false); -> /,
    why: "A list that is made again, or a wake for nothing, changes nothing that is called",
  },
  {
    path: "hal/vhost_user/back_end_link.ts",
    what: "this.#cleanup.use(watch); -> nothing",
    why: "Its next call finds the socket closed, and ends the watch",
  },
  {
    path: "hal/qtest/_channel.ts",
    what: /^if \(this\.#start < this\.#end\) this\.#in\.copyWithin\(.* -> if \(this\.#start <= /,
    why: "A copy of nothing changes nothing",
  },
  {
    path: "emu/devices/net/receive_hash.ts",
    what:
      /^(?:for \(let bit = 0; bit < .* -> .*bit <= |if \(this\.#types === 0 \|\| length < 14\).* -> .*length <= 14)/,
    why:
      "A typed array has no element behind its last, and a frame without a packet in it nothing to hash",
  },
  {
    path: "drivers/virtqueue/fill_pool.ts",
    what: /^if \(performance\.now\(\) >= .* -> if \(performance\.now\(\) > /,
    why: "The clock is finer than a request takes: it is never at just that time",
  },
  {
    path: "hal/vhost_user/back_end_link.ts",
    what: "if (left > 0) { -> if (left >= 0) {",
    why: "A poll of no time is one more look, and then the time is over",
  },
  {
    path: "hal/poll_interrupt.ts",
    what: "#turnClean = false; -> #turnClean = true;",
    why: "Nobody reads it before a turn is asked for, which sets it",
  },
  {
    path: "drivers/net/net.ts",
    what: "#linkUp = true; -> #linkUp = false;",
    why: "The driver sets the card up, and reads whether the link is up, before anybody has it",
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
    path: "drivers/bus/_dispatcher.ts",
    what: /if \(idle > 0\b.* -> if \(idle >= 0\b/,
    why: "A line that is not idle has no use for the clock, which says nothing new of it",
  },
  {
    path: "drivers/console/_control.ts",
    what: /CONSOLE_CONTROL\.value\.offset, true\), -> value: .*, false\),$/,
    why: "Of what a device says only whether the value is 0 is looked at",
  },
  {
    path: "drivers/console/driver.ts",
    what: /^const id = index < 2 \? 0 .* -> const id = index <= 2 /,
    why: "Queue 2 is the one of control messages, which is of no port",
  },
  {
    path: "drivers/console/driver.ts",
    what: /^if \(event < ConsoleEvent\.PORT_ADD .* -> if \(event <= ConsoleEvent\.PORT_ADD /,
    why: "A message that adds a port is handled before",
  },
  {
    path: "drivers/console/port.ts",
    what: "#ended = false; -> #ended = true;",
    why: "Only a port that is open can be read, and opening it sets that",
  },
  {
    path: "drivers/console/port.ts",
    what:
      /receiver\.hasData && receiver\.hasUsed\).* -> .*receiver\.hasData \|\| receiver\.hasUsed\)/,
    why: "It takes over buffers that the next interrupt would, or finds none",
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
    path: "drivers/blk/_queue.ts",
    what: "#paused = false; -> #paused = true;",
    why: "A queue is started before it hands anything out, which sets it",
  },
  {
    path: "drivers/blk/_queue.ts",
    what: /^if \(id (?:<|>) 0\) .* -> if \(id (?:<|>)= 0\) /,
    why: "No batch has the number 0, and the search begins behind it",
  },
  {
    path: "drivers/blk/_queue.ts",
    what: "let added = false; -> let added = true;",
    why: "A kick without new buffers tells the device nothing",
  },
  {
    path: "drivers/blk/_queue.ts",
    what: /^if \(left > slots\.bytes\) span = .* -> if \(left >= slots\.bytes\) span = /,
    why: "Of one slot the run has one",
  },
  {
    path: "drivers/blk/_queue.ts",
    what:
      /(?:next < taken|slot < this\.#owners)\.length.* -> .*(?:next <= taken|slot <= this\.#owners)\.length/,
    why: "No slot is behind the last: it is neither taken nor has an owner",
  },
  {
    path: "drivers/blk/_queue.ts",
    what:
      "if (slot < this.#lowest) this.#lowest = slot; -> if (slot <= this.#lowest) this.#lowest = slot;",
    why: "Where both are the same slot it stays that",
  },
  {
    path: "drivers/blk/_queue.ts",
    what: "if (request.inFlight > 0) { -> if (request.inFlight >= 0) {",
    why: "A request without slots is found in none",
  },
  {
    path: "drivers/blk/_queue.ts",
    what: "this.#pool.push(request); -> nothing",
    why: "The next request makes an object instead of using this one again",
  },
  {
    path: "drivers/blk/requests.ts",
    what: /^(?:pending|inRow) = false; -> (?:pending|inRow) = true;$/,
    why:
      "A request is made to be submitted, and put into a row, which sets them before anybody looks",
  },
  {
    path: "drivers/blk/requests.ts",
    what: /, at \+ BLK_RANGE\.sector\.offset, .* -> .*, at - BLK_RANGE\.sector\.offset, /,
    why: "The sector is the first field: its offset is 0",
  },
  {
    path: "drivers/blk/config.ts",
    what: /^if \(sectors \* BLK_SECTOR_SIZE > .* -> if \(sectors \* BLK_SECTOR_SIZE >= /,
    why: "No multiple of 512 is 2^53 - 1",
  },
  {
    path: "drivers/blk/batch.ts",
    what: /slot < this\.depth; slot\+\+.* -> .*slot <= this\.depth; slot\+\+/,
    why: "The slot behind the last is in no state, and the device does not have it",
  },
  {
    path: "drivers/blk/_slots.ts",
    what: /slot < this\.ready; slot\+\+.* -> .*slot <= this\.ready;/,
    why: "The slot behind those with buffers is not with the device, and has no view",
  },
  {
    path: "drivers/blk/_slots.ts",
    what: /i < this\.count; i\+\+.* -> .*i <= this\.count;/,
    why: "There is no slot behind the last: it has no old buffer",
  },
  {
    path: "drivers/p9/_call.ts",
    what: /^(?:tag|most) = 0; -> nothing$|^#returned = false; -> #returned = true;$/,
    why: "Nobody reads it before a message is sent, which sets it",
  },
  {
    path: "drivers/p9/_call.ts",
    what: "this.#handler = NOTHING; -> nothing",
    why: "The next message sets it: until then a handler that is over stays in memory",
  },
  {
    path: "drivers/p9/file.ts",
    what: "return length <= this.chunk -> return length < this.chunk",
    why: "What has just the room of one message is read by one either way",
  },
  {
    path: "drivers/crypto/driver.ts",
    what: "key.fill(0); -> nothing",
    why: "Nobody can reach that array any more: its bytes only stay in memory for longer",
  },
  {
    path: "drivers/caif/driver.ts",
    what: /room\.push\(true\);.* -> .*room\.push\(false\);$/,
    why: "What waits for room counts the messages, and looks at none",
  },
  {
    path: "drivers/balloon/driver.ts",
    what:
      "return this.size === this.target ? true : undefined; -> return this.size === this.target ? false : undefined;",
    why: "A wait ends with any value but undefined, and nobody looks at this one",
  },
  {
    path: "drivers/balloon/driver.ts",
    what: /, 0xffff, true\); -> .*, 0xffff, false\);$/,
    why: "Both bytes of the tag are the same",
  },
  {
    path: "drivers/balloon/driver.ts",
    what:
      /^this\.#following = true; -> |this\.#following \|\| this\.failure .* -> .*this\.#following && /,
    why: "One more turn finds the balloon at its target, or the device failed",
  },
  {
    path: "drivers/scsi/host.ts",
    what: "return true; -> return false;",
    why: "A wait ends with any value but undefined, and nobody looks at this one",
  },
  {
    path: "drivers/gpu/edid.ts",
    what: /^if \(block\.reduce\(\(sum, byte\) => sum \+ byte, 0\) .* => sum - byte, 0\) /,
    why: "A sum is a multiple of 256 if what is less by it than 0 is one",
  },
  {
    path: "drivers/gpu/edid.ts",
    what: /; at < 126; at \+= 18\).*; at <= 126; at \+= 18\)/,
    why: "What is left behind the last descriptor is too short to be one",
  },
  {
    path: "drivers/input/driver.ts",
    what:
      /; (?:i < size; i\+\+|bit < bytes\.length \* 8; bit\+\+).*; (?:i <= size|bit <= bytes\.length)/,
    why: "An array of bytes takes nothing behind its end, and has no bits there",
  },
  {
    path: "drivers/p9/file.ts",
    what: "if (part.length > 0) parts.push(part); -> if (part.length >= 0) parts.push(part);",
    why: "A part without bytes adds nothing to the whole, which is only copied once more",
  },
  {
    path: "drivers/vsock/connection.ts",
    what:
      /^if \(last === undefined \|\| last\.length \+ data\.length > PIECE\) .* -> .*(?:- data\.length|>= PIECE)/,
    why: "Pieces bound what is copied for a packet: a reader gets the same bytes, joined",
  },
  {
    path: "drivers/blk/zones.ts",
    what: /, at \+ z_cap\.offset\).* -> .*, at - z_cap\.offset\)/,
    why: "The capacity is the first field: its offset is 0",
  },
  {
    path: "drivers/p9/_nodes.ts",
    what: /; at < value\.length; at \+= file\.chunk\).*; at <= value\.length;/,
    why: "One more part has no bytes, and is no message",
  },
  {
    path: "drivers/p9/file.ts",
    what: /^for \(let (?:from|at) = 0; (?:from < length|at < (?:bytes|into)\.length); .* <= /,
    why: "One more part has no bytes, and is no message",
  },
  {
    path: "drivers/p9/file.ts",
    what: /^if \(bytes\.length <= this\.chunk\) return void .* < this\.chunk/,
    why: "What has just the room of one message is written by one either way",
  },
  {
    path: "drivers/p9/_paths.ts",
    what: /^if \(todo\.length > P9_MAX_WALK\) .* >= P9_MAX_WALK/,
    why: "As many names as one message has are walked by one either way",
  },
  {
    path: "drivers/vsock/driver.ts",
    what: /getUint32\(0, true\) !== VSOCK_TRANSPORT_RESET -> .*getUint32\(0, false\) !== /,
    why: "It is only compared with 0, which has no byte order",
  },
  {
    path: "drivers/bus/_bus_device.ts",
    what: /^#(?:running|suspended|changeDue) = false; -> /,
    why: "The bus resets a device before anybody has it, which sets it",
  },
  {
    path: "drivers/bus/bus.ts",
    what: "if (errors.length > 1) throw new AggregateError(errors, what); -> " +
      "if (errors.length >= 1) throw new AggregateError(errors, what);",
    why: "A single error was thrown by the line before",
  },
  {
    path: "drivers/transport/pci/capabilities.ts",
    what: /at \+ PCI_CAP\.cap_vndr\.offset\b.* -> .*at - PCI_CAP\.cap_vndr\.offset/,
    why: "The id is the first field: its offset is 0",
  },
  {
    path: "drivers/transport/pci/legacy.ts",
    what: /SIZE \+ MSIX\.config_msix_vector\.offset.* -> .*SIZE - /,
    why: "The vector is the first field: its offset is 0",
  },
  {
    path: "drivers/transport/pci/interrupts.ts",
    what: "table.write32(entry + MSIX_ENTRY.address.offset + 4, hi32(address)); -> " +
      "table.write32(entry - MSIX_ENTRY.address.offset + 4, hi32(address));",
    why: "The address is the first field: its offset is 0",
  },
  {
    path: "drivers/transport/pci/interrupts.ts",
    what: "for (let vector = 0; vector < count; vector++) { -> " +
      "for (let vector = 0; vector <= count; vector++) {",
    why: "No queue has the vector behind the last, and what has no queue is no source",
  },
  {
    path: "drivers/wait/_ticker.ts",
    what: /^if \(at >= this\.#at && at > now\) return; -> if \(at > this\.#at && at > now\)/,
    why: "A timer that is set again for the same time looks then, too",
  },
  {
    path: "drivers/wait/limit.ts",
    what:
      /^if \(this\.#first !== undefined \|\| this\.#calming\) return; -> .* && |^this\.#calming = true; -> /,
    why: "One more look at the end of the turn finds what the first one finds",
  },
  {
    path: "drivers/wait/limit.ts",
    what:
      /^if \(limit\.until (?:<= now\) .* < now|< next\) .* <= next)|^for \(const limit of late\) .* < now\)|^this\.#timer = undefined; -> nothing/,
    why:
      "The clock is finer than a look takes, of equal ends either is the next, and a timer that is over may be cleared again",
  },
  {
    path: "drivers/wait/wait_list.ts",
    what: /^if \(entry\.until (?:<= now\) .* < now|< end\) .* <= end)/,
    why: "The clock is finer than a look takes, and of equal ends either is the next",
  },
  {
    path: "drivers/wait/options.ts",
    what: /end < until \? end .* end <= until|^if \(left < time\) .* left <= time/,
    why: "Of two equal ends either is the earlier",
  },
  ...["condition", "wait_list"].map((file): Equivalent => ({
    path: `drivers/wait/${file}.ts`,
    what: "inRow = false; -> inRow = true;",
    why: "Nobody reads it before the row takes the entry, which sets it",
  })),
  {
    path: "drivers/crypto/services.ts",
    what: /^for \(let i = 0; i < found\.length; .* i <= found\.length; /,
    why: "Behind the last byte there are none to differ, or the lengths do",
  },
  {
    path: "drivers/virtqueue/_errors.ts",
    what: /; at < count \* SG_WORDS; .*; at <= count \* SG_WORDS; /,
    why: "An element's length is its third word: none is at the end",
  },
  {
    path: "drivers/virtqueue/_indirect.ts",
    what: "return elements > 1 && elements <= this.capacity ? 1 : elements; -> " +
      "return elements >= 1 && elements <= this.capacity ? 1 : elements;",
    why: "A single element takes one descriptor either way",
  },
  ...["split", "packed"].map((ring): Equivalent => ({
    path: `drivers/virtqueue/${ring}.ts`,
    what:
      /^for \(let i = 0; i < size; i\+\+\) .* i <= size;|i \* Shadow\.WORDS \+ Shadow\.NEXT\b.* -> .*WORDS - Shadow\.NEXT|^this\.usedLength = length < writable .* length <= writable/,
    why:
      "A typed array takes nothing behind its end, the link is the first word, and of equal lengths either is the least",
  })),
  {
    path: "hal/barrier.ts",
    what: 'Deno.build.arch === "x86_64" -> Deno.build.arch !== "x86_64"',
    why:
      "Both loads see the same word: an atomic one is slower, and a plain one is as ordered on x86-64",
  },
  ...["boot_sector", "superblock"].map((file): Equivalent => ({
    path: `firmware/disk/${file}.ts`,
    what:
      /^(?!const (?:reserved|length)).*\((?:14|22), true\).* -> .*\((?:14|22|36), false\)|^const (?:inodes|perGroup) = .* -> .*false/,
    why: "It is only compared with 0, which has no byte order",
  })),
  {
    path: "firmware/disk/boot_sector.ts",
    what: "const record = recordField > 0 ? recordField * cluster : 2 ** -recordField; -> " +
      "const record = recordField >= 0 ? recordField * cluster : 2 ** -recordField;",
    why: "A record of 0 bytes and one of 1 byte have no label",
  },
  {
    path: "drivers/record/format.ts",
    what: "if (this.#at + bytes <= this.#bytes.length) return; -> " +
      "if (this.#at + bytes < this.#bytes.length) return;",
    why: "Room that is made a byte too early is room all the same",
  },
  {
    path: "firmware/disk/mbr.ts",
    what: /ENTRY\.SIZE \+ ENTRY\.status\.offset.* -> .*ENTRY\.SIZE - ENTRY\.status\.offset/,
    why: "The status is the first field: its offset is 0",
  },
  {
    path: "firmware/disk/gpt.ts",
    what: /setUint32\(HEADER\.headerCrc\.offset, 0, true\).* -> .*false/,
    why: "A zero has no byte order",
  },
  {
    path: "firmware/disk/gpt.ts",
    what: "for (let i = 0; i < count; i++) { -> for (let i = 0; i <= count; i++) {",
    why: "The entry behind the last one has no bytes, none of which is used",
  },
  {
    path: "firmware/check/checks/others.ts",
    what: /edid\.reduce\(\(sum, byte\) => sum \+ byte.* -> .*sum - byte/,
    why: "Bytes whose sum is a multiple of 256 have a negative sum that is one, too",
  },
  {
    path: "firmware/trace/file.ts",
    what: / > (?:TEXT|CHUNK)\).* -> .* >= (?:TEXT|CHUNK)\)/,
    why: "What just fits may as well be written earlier: the bytes and their order are the same",
  },
  {
    path: "firmware/trace/pcapng.ts",
    what: "if (this.#length + length <= this.#bytes.length) return; -> " +
      "if (this.#length + length < this.#bytes.length) return;",
    why: "Room that is made a byte too early is room all the same",
  },
  {
    path: "drivers/record/recorder.ts",
    what: /\(by = [12]\) > 0.* -> .*\(by = [12]\) >= 0/,
    why: "The number that was just set is 1 or 2",
  },
  {
    path: "drivers/record/_recorded_ring.ts",
    what: /i < elements\.length; i \+= 2\).* -> .*i <= elements\.length/,
    why: "Behind the last element there is no length, of which nothing is written",
  },
  {
    path: "firmware/check/driver/tempter.ts",
    what: "if (waiting.length > 0) later(); -> if (waiting.length >= 0) later();",
    why: "A timer that finds nothing waiting does nothing",
  },
  {
    path: "firmware/check/driver/tempter.ts",
    what: "timer = undefined; -> nothing",
    why: "A timer that has fired may be cleared again",
  },
  {
    path: "firmware/disk/disk_report.ts",
    what: /^for \(; next < total .* -> for \(; next <= total /,
    why: "A read of no bytes asks the disk for nothing, and nobody waits for what it gives",
  },
  {
    path: "firmware/check/raw/arena.ts",
    what: "for (let at = 4 * word; at < 4 * word + 4; at++) { -> " +
      "for (let at = 4 * word; at <= 4 * word + 4; at++) {",
    why: "The byte is of the next word, which is looked at next: nobody is given the last one",
  },
  {
    path: "firmware/check/context.ts",
    what:
      /^(?:for \(let turn = 0; turn <|if \(this\.#pace\.quiet >|if \(turn <|if \(performance\.now\(\) - start >).* -> .*[<>]= ?/,
    why: "A turn more or less, or a timer instead, gives a device time as well",
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
