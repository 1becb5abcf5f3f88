import { Qmp } from "@vireo/hal/qmp";

/** Where PID 1 has the FIFOs from and to the host, see firmware/image/guest.c. */
const FROM_HOST = "/vireo/monitor.in";
const TO_HOST = "/vireo/monitor.out";

/**
 * The monitor of the QEMU that this guest runs in: the host relays it, past its negotiation.
 *
 * @returns Nothing where no Vireo is on the host, for example in an image that someone boots.
 */
export function guestMonitor(): Qmp | undefined {
  try {
    // Neither open blocks: PID 1 has both ends open.
    const to = Deno.openSync(TO_HOST, { write: true });
    const from = Deno.openSync(FROM_HOST, { read: true });
    return new Qmp(writable(to), readable(from));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

// A file's own streams do not move bytes of a FIFO (measured, Deno 2.9.5).
function writable(file: Deno.FsFile): WritableStream<Uint8Array> {
  return new WritableStream({
    async write(bytes) {
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    },
    abort: () => file.close(),
  });
}

function readable(file: Deno.FsFile): ReadableStream<Uint8Array> {
  const buffer = new Uint8Array(4096);
  return new ReadableStream({
    async pull(controller) {
      const length = await file.read(buffer);
      controller.enqueue(buffer.slice(0, length ?? 0));
    },
    cancel: () => file.close(),
  }, { highWaterMark: 0 });
}
