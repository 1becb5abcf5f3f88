import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
import { Libc, Received } from "./libc.ts";

const [EINTR, EAGAIN, EPIPE, ECONNRESET] = [4, 11, 32, 104];

/**
 * A C library of these functions. Results below 0 are errors of `errno`, which is their number without the sign.
 */
function withCalls<T>(
  calls: Record<string, (...args: never[]) => number | bigint | Deno.PointerValue>,
  run: (libc: Libc) => T,
): T {
  // A block of its own, which does not move.
  const errno = new Int32Array(new ArrayBuffer(4096));
  const failing = Object.entries(calls).map(([name, call]) => [
    name,
    (...args: never[]) => {
      const result = call(...args);
      if (typeof result === "object" || result >= 0) return result;
      errno[0] = -Number(result);
      return typeof result === "bigint" ? -1n : -1;
    },
  ]);
  const symbols = {
    ...Object.fromEntries(failing),
    __errno_location: () => Deno.UnsafePointer.of(errno),
    strerror: () => null,
  };
  const { dlopen } = Deno;
  Object.assign(Deno, { dlopen: () => ({ symbols, close() {} }) });
  try {
    return run(new Libc());
  } finally {
    Object.assign(Deno, { dlopen });
  }
}

/** Results that a function gives one by one. */
function results<T>(...list: T[]): () => T {
  return () => list.shift()!;
}

Deno.test("libc: what a signal interrupts is called again, and other errors are told apart", () => {
  for (
    const [list, seen] of [
      [[-EINTR, -EINTR, 5], 5],
      [[-EINTR, -EAGAIN], Received.NOTHING],
      [[-EINTR, -EPIPE, -EPIPE], Received.FAILED],
      [[0], Received.END],
      // A failure is there twice, but for the end of a connection behind its reset.
      [[-EPIPE, -EAGAIN], Received.NOTHING],
      [[-EPIPE, -EINTR, 5], 5],
      [[-ECONNRESET, 0], Received.FAILED],
    ] as const
  ) {
    const bytes = new Uint8Array(8);
    withCalls(
      { recv: results(...list), sendmsg: results(...list), recvmsg: results(...list) },
      (libc) => {
        assertEquals(
          [
            libc.receive(3, bytes, 8n, true),
            libc.sendMessage(3, bytes),
            libc.receiveMessage(3, bytes),
          ],
          [seen, seen, seen],
        );
        const failed = list.find((result) => [-EPIPE, -ECONNRESET].includes(result))!;
        assertEquals(libc.failure, seen === Received.FAILED ? `errno ${-failed}` : undefined);
      },
    );
  }
});

Deno.test("libc: bytes are sent part by part until all are sent, or sending fails", () => {
  const send = (...list: number[]): [boolean, string[]] => {
    const seen: string[] = [];
    const next = results(...list);
    return withCalls({
      send: (_fd: number, bytes: Uint8Array, length: bigint) => {
        seen.push(bytes.subarray(0, Number(length)).join());
        return next();
      },
    }, (libc) => [libc.send(3, Uint8Array.of(1, 2, 3, 4, 5), 4), seen]);
  };
  assertEquals(send(4), [true, ["1,2,3,4"]]);
  assertEquals(send(1, 2, 1), [true, ["1,2,3,4", "2,3,4", "4"]]);
  assertEquals(send(-EINTR, 3, -EINTR, 1), [true, ["1,2,3,4", "1,2,3,4", "4", "4"]]);
  assertEquals(send(-EAGAIN), [false, ["1,2,3,4"]]);
  // One that sends nothing has not failed.
  assertEquals(send(0, 4), [true, ["1,2,3,4", "1,2,3,4"]]);
  assertEquals(send(2, -EPIPE), [false, ["1,2,3,4", "3,4"]]);
});

Deno.test("libc: deadlines and waits are split as their structures have them", () => {
  const words = (bytes: BigInt64Array): string => [...bytes].join();
  const seen: unknown[] = [];
  withCalls({
    setsockopt: (_fd: number, _level: number, option: number, time: BigInt64Array) => {
      seen.push([option, words(time)]);
      return 0;
    },
    ppoll: (list: Int32Array, count: bigint, time: BigInt64Array) => {
      seen.push([...list, Number(count), words(time)]);
      return count > 1n ? 1 : 0;
    },
  }, (libc) => {
    // Receiving and sending, in seconds and microseconds, of which there is at least one: 0 would be for ever.
    for (const [ms, text] of [[1500, "1,500000"], [0, "0,1"], [2000, "2,1"], [0.5, "0,500"]]) {
      libc.setSocketDeadline(3, ms as number);
      assertEquals(seen.splice(0), [[20, text], [21, text]]);
    }
    const list = Int32Array.of(3, 1);
    for (
      const [ms, text] of [
        ...[[0, "0,0"], [1500, "1,500000000"], [0.0001, "0,100"]] as const,
        [Infinity, "1000000,0"],
      ] as const
    ) {
      assertEquals(libc.poll(list, ms), false);
      assertEquals(seen.splice(0), [[3, 1, 1, text]]);
    }
    assertEquals(libc.poll(Int32Array.of(3, 1, 4, 1), 0), true);
  });
});

Deno.test("libc: a reserved range begins where it is aligned, and the rest is given back", () => {
  const PAGE = 4096n;
  // What is mapped is at least as long as what is asked for; nobody touches it.
  const reserved = (start: bigint, align: bigint): string[] => {
    const seen: string[] = [];
    withCalls({
      mmap: (_at: unknown, size: bigint) => {
        seen.push(`map ${size / PAGE}`);
        return Deno.UnsafePointer.create(start);
      },
      munmap: (at: Deno.PointerValue, size: bigint) => {
        seen.push(`unmap ${(Deno.UnsafePointer.value(at) - start) / PAGE} ${size / PAGE}`);
        return 0;
      },
    }, (libc) => {
      const { pointer } = libc.reserve(Number(2n * PAGE), Number(align));
      seen.push(`at ${(Deno.UnsafePointer.value(pointer) - start) / PAGE}`);
    });
    return seen;
  };
  const base = 0x7000_0000_0000n;
  assertEquals(reserved(base, PAGE), ["map 3", "unmap 2 1", "at 0"]);
  assertEquals(reserved(base + PAGE, 4n * PAGE), ["map 6", "unmap 0 3", "unmap 5 1", "at 3"]);
  assertEquals(reserved(base, 4n * PAGE), ["map 6", "unmap 2 4", "at 0"]);
});

Deno.test("libc: what is made for a file or a socket is closed if the rest fails, and unmapped once", () => {
  const libc = new Libc();
  const open = (): number => [...Deno.readDirSync("/proc/self/fd")].length;
  const mapped = (): boolean => Deno.readTextFileSync("/proc/self/maps").includes("vireo-calls");
  const before = open();
  assertThrows(() => libc.memoryFile("vireo-calls", -1), VireoError, "ftruncate");
  assertThrows(() => libc.connect("/none"), VireoError, "connect to /none");
  assertEquals(open(), before);
  const file = libc.memoryFile("vireo-calls", 4096);
  const mapping = libc.map(file, 4096);
  assertEquals(mapped(), true);
  libc.unmap(mapping);
  assertEquals([mapped(), mapping.buffer.detached], [false, true]);
  libc.close(file);
  assertEquals(open(), before);
  libc.dispose();
});
