import { assert, assertEquals, assertThrows } from "@std/assert";
import { DeviceId, FeatureSet, VireoError } from "@vireo/hal";
import { joinBytes, u32s, u64s, type VhostUserFrontEnd } from "@vireo/hal/vhost-user";
import {
  F,
  type FrontEndOptions,
  greet,
  GREETING,
  type LibcWithPeers,
  NET_MQ,
  QUEUE,
  requests,
  told,
  withPeer,
} from "./front_end_rig.ts";
import { answer, PROTOCOL, R, RawPeer, VERSION_1 } from "./raw_peer.ts";
import { openDescriptors, wait } from "./wait.ts";

const ENTROPY = { deviceId: DeviceId.RNG, reconnect: 20_000 };
const DISK = { deviceId: DeviceId.BLOCK, reconnect: 20_000 };
const AGAIN = { ...QUEUE, again: () => 0 };
/** `VIRTIO_BLK_F_ZONED`. */
const ZONED = 17;

/** A peer that the next connection leads to. */
function another(libc: LibcWithPeers): RawPeer {
  const [fd, theirs] = libc.socketPair();
  libc.connections.push(() => fd);
  return new RawPeer(libc, theirs);
}

/** Has the next looks find nobody; resolves when one has looked. */
function nobody(libc: LibcWithPeers): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const miss = (): never => {
    libc.connections.push(miss);
    resolve();
    throw new VireoError("HOST_ERROR", "Nobody listens");
  };
  libc.connections.push(miss);
  return promise;
}

/** Has each look for another back end fail the test. */
function notLookedFor(libc: LibcWithPeers): void {
  libc.connections.push(() => {
    throw new Error("Another back end is looked for");
  });
}

/** Resolves when the configuration's interrupt comes. */
function interrupted(frontEnd: VhostUserFrontEnd): Promise<void> {
  return frontEnd.configInterrupt.wait({
    signal: AbortSignal.timeout(10_000),
    ready: () => false,
  });
}

/** The error of a front end whose back end is gone for good. */
function failure(frontEnd: VhostUserFrontEnd): VireoError {
  const error = assertThrows(() => frontEnd.readFeatures(), VireoError);
  assertEquals([error.code, frontEnd.present], ["DEVICE_REMOVED", false]);
  return error.cause as VireoError;
}

Deno.test("vhost-user: another back end is waited for where it can go on, and nowhere else", async () => {
  const split = [AGAIN];
  const cases: readonly (readonly [
    name: string,
    options: Pick<FrontEndOptions, "deviceId" | "reconnect">,
    queues: readonly typeof AGAIN[] | readonly typeof QUEUE[],
    features: readonly number[] | undefined,
    waits: boolean,
  ])[] = [
    ["entropy", ENTROPY, split, undefined, true],
    ["a disk", DISK, split, [32], true],
    ["a disk with zones", DISK, split, [ZONED, 32], false],
    [
      "a device that may do nothing twice",
      { ...DISK, deviceId: DeviceId.CONSOLE },
      split,
      [],
      false,
    ],
    ["no time for it", { deviceId: DeviceId.RNG }, split, undefined, false],
    ["no queues", ENTROPY, [], undefined, false],
    ["a ring that cannot say what is under way", ENTROPY, [QUEUE], undefined, false],
    ["one of two such rings", ENTROPY, [AGAIN, QUEUE] as typeof AGAIN[], undefined, false],
  ];
  for (const [name, options, queues, features, waits] of cases) {
    await withPeer(options, { protocol: 0, queues: 1 }, async (frontEnd, peer, libc) => {
      const looked = waits ? nobody(libc) : notLookedFor(libc);
      if (features !== undefined) frontEnd.writeFeatures(FeatureSet.of(...features));
      queues.forEach((queue, index) => frontEnd.setUpQueue(index, queue));
      const gone = interrupted(frontEnd);
      peer[Symbol.dispose]();
      if (waits) {
        await looked;
        gone.catch(() => {});
        assertEquals([frontEnd.present, frontEnd.configChanges], [true, 0], name);
        frontEnd[Symbol.dispose]();
        await gone;
      } else {
        await gone;
        assertEquals(failure(frontEnd).code, "DEVICE_REMOVED", name);
      }
    });
  }
});

Deno.test("vhost-user: a back end that lies is gone for good, also where another one could come", async () => {
  await withPeer(ENTROPY, { protocol: 0, queues: 1 }, async (frontEnd, peer, libc) => {
    notLookedFor(libc);
    frontEnd.setUpQueue(0, AGAIN);
    const gone = interrupted(frontEnd);
    // Of the question that was answered last, too.
    peer.send(answer(R.GET_PROTOCOL_FEATURES, u64s(0)));
    await gone;
    assertEquals(failure(frontEnd).code, "BAD_MESSAGE");
  });
});

Deno.test("vhost-user: nobody comes in time, and the back end is gone", async () => {
  for (const needed of [false, true]) {
    const options = { ...ENTROPY, reconnect: 30 };
    await withPeer(options, { protocol: 0, queues: 1 }, async (frontEnd, peer, libc) => {
      let looks = 0;
      const { connect } = libc;
      libc.connect = (path) => (looks++, connect.call(libc, path));
      nobody(libc);
      frontEnd.setUpQueue(0, AGAIN);
      const gone = interrupted(frontEnd);
      peer[Symbol.dispose]();
      if (needed) {
        const error = assertThrows(() => frontEnd.readFeatures(), VireoError);
        assertEquals(error.code, "DEVICE_REMOVED");
        // At once, and then each 20 ms.
        assert(looks >= 2 && looks <= 4, `${looks} looks`);
      }
      await gone;
      libc.connections.length = 0;
      notLookedFor(libc);
      assertEquals(
        failure(frontEnd).message,
        "The connection to the back end of /peer ended, and none came in 30 ms",
      );
      assertEquals(frontEnd.configChanges, 0);
    });
  }
});

Deno.test("vhost-user: a back end that comes back as another device is refused", async () => {
  const cases: readonly (readonly [
    name: string,
    protocol: number,
    features: number,
    queues: number,
    seen: string | undefined,
  ])[] = [
    ["the same", F.MQ | F.STATUS, 2, 4, undefined],
    ["more features and queues", F.MQ | F.STATUS, 6, 5, undefined],
    ["fewer features", F.MQ | F.STATUS, 4, 4, "4 queues, without the features 1"],
    ["fewer queues", F.MQ | F.STATUS, 2, 3, "3 queues, without the features none"],
    ["another protocol", F.MQ, 2, 4, "4 queues, without the features none"],
    ["more protocol", F.MQ | F.STATUS | F.CONFIG, 2, 4, "4 queues, without the features none"],
  ];
  for (const [name, protocol, features, queues, seen] of cases) {
    await withPeer(
      ENTROPY,
      { protocol: F.MQ | F.STATUS, features: 3, queues: 4 },
      async (frontEnd, first, libc) => {
        frontEnd.writeFeatures(FeatureSet.of(1, 32));
        frontEnd.setUpQueue(0, AGAIN);
        using second = another(libc);
        greet(second, protocol, features);
        second.send(answer(R.GET_QUEUE_NUM, u64s(queues)));
        second.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL + features)));
        const changed = interrupted(frontEnd);
        const before = openDescriptors();
        first[Symbol.dispose]();
        await changed;
        if (seen === undefined) {
          assertEquals([frontEnd.present, frontEnd.reconnections], [true, 1], name);
          return;
        }
        notLookedFor(libc);
        const error = failure(frontEnd);
        assertEquals(
          [error.code, error.seen, error.expected],
          ["BAD_MESSAGE", seen, "4 queues, and the same features"],
          name,
        );
        assertEquals(frontEnd.reconnections, 0);
        // Those of the first one, with its file of memory; the second one's own side is closed.
        assert(openDescriptors() < before);
      },
    );
  }
});

Deno.test("vhost-user: a back end that comes back has the features and the status told in the order of a driver", async () => {
  const features = 2;
  await withPeer(
    ENTROPY,
    { protocol: F.STATUS, features, queues: 1 },
    async (frontEnd, first, libc) => {
      frontEnd.writeStatus(11);
      frontEnd.writeFeatures(FeatureSet.of(1, 32));
      frontEnd.setUpQueue(0, AGAIN);
      frontEnd.setUpQueue(1, { ...AGAIN, again: () => 7 });
      frontEnd.enableQueue(1);
      frontEnd.writeStatus(15);
      using second = another(libc);
      greet(second, F.STATUS, features);
      second.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL + features)));
      const changed = interrupted(frontEnd);
      first[Symbol.dispose]();
      await changed;
      const fds: number[] = [];
      const all = told(second, fds);
      // Memory, and of each queue a call and a kick: the one before may have taken a kick and done nothing.
      assertEquals(fds.slice(1).map((fd) => libc.clearEvent(fd)), [false, true, false, true]);
      fds.forEach((fd) => libc.close(fd));
      assertEquals(all.map(([request]) => request), [
        ...GREETING,
        ...[R.GET_FEATURES, R.SET_FEATURES, R.SET_STATUS, R.SET_MEM_TABLE],
        ...[R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ADDR, R.SET_VRING_CALL],
        ...[R.SET_VRING_KICK],
        ...[R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ADDR, R.SET_VRING_CALL],
        ...[R.SET_VRING_KICK, R.SET_VRING_ENABLE, R.SET_STATUS],
      ]);
      const words = (request: number): number[][] =>
        all.filter(([found]) => found === request).map((words) => words.slice(1));
      assertEquals(words(R.SET_FEATURES), [[PROTOCOL + features, 1]]);
      assertEquals(words(R.SET_STATUS), [[11, 0], [15, 0]]);
      assertEquals(words(R.SET_VRING_BASE), [[0, 0], [1, 7]]);
      assertEquals(words(R.SET_VRING_ENABLE), [[1, 1]]);
    },
  );
});

Deno.test("vhost-user: a queue goes on behind what the used ring has, by the notes of the back end before", async () => {
  const backEnd = { protocol: F.INFLIGHT, queues: 1 };
  await withPeer(DISK, backEnd, async (frontEnd, first, libc, memory) => {
    const description = joinBytes(u64s(0x5000, 0), u32s(1 | 1024 << 16));
    first.send(answer(R.GET_INFLIGHT_FD, description), [first.memoryFd]);
    frontEnd.setUpQueue(0, QUEUE);
    frontEnd.setUpQueue(1, { ...QUEUE, packed: true });
    libc.writeAt(memory, Uint8Array.of(0x55, 0x55, 0x34, 0x12), QUEUE.device);
    using second = another(libc);
    greet(second, F.INFLIGHT);
    second.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL)));
    const changed = interrupted(frontEnd);
    first[Symbol.dispose]();
    await changed;
    const seen = told(second);
    // It is given the notes before it is given a queue.
    assertEquals(seen.slice(5, 7).map(([request]) => request), [
      R.SET_INFLIGHT_FD,
      R.SET_MEM_TABLE,
    ]);
    assertEquals(seen[5]!.slice(1), [0x5000, 0, 0, 0, 1 | 1024 << 16]);
    assertEquals(seen.filter(([request]) => request === R.SET_VRING_BASE), [
      [R.SET_VRING_BASE, 0, 0x1234],
      [R.SET_VRING_BASE, 1, 0x8000_8000],
    ]);
  });
});

Deno.test("vhost-user: a ring that the back end before left broken ends the device", async () => {
  await withPeer(ENTROPY, { protocol: 0, queues: 1 }, async (frontEnd, first, libc) => {
    frontEnd.setUpQueue(0, AGAIN);
    frontEnd.setUpQueue(1, { ...QUEUE, again: () => undefined });
    using second = another(libc);
    greet(second, 0);
    second.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL)));
    const gone = interrupted(frontEnd);
    first[Symbol.dispose]();
    await gone;
    const error = failure(frontEnd);
    assertEquals([error.code, error.queue], ["QUEUE_BROKEN", 1]);
  });
});

Deno.test("vhost-user: a reset while the back end is away waits for nobody, and the next one is told nothing", async () => {
  await withPeer(ENTROPY, { protocol: F.STATUS, queues: 1 }, async (frontEnd, first, libc) => {
    frontEnd.writeFeatures(FeatureSet.of(32));
    frontEnd.writeStatus(15);
    frontEnd.setUpQueue(0, AGAIN);
    const looked = nobody(libc);
    first[Symbol.dispose]();
    await looked;
    frontEnd.reset();
    assertEquals([frontEnd.present, frontEnd.reconnections], [true, 0]);
    libc.connections.length = 0;
    using second = another(libc);
    greet(second, F.STATUS);
    second.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL)));
    await interrupted(frontEnd);
    assertEquals(told(second), [
      ...[[R.GET_FEATURES], [R.GET_PROTOCOL_FEATURES]],
      [R.SET_PROTOCOL_FEATURES, F.STATUS, 0],
      ...[[R.SET_OWNER], [R.GET_FEATURES], [R.SET_STATUS, 0, 0], [R.SET_STATUS, 0, 0]],
    ]);
    assertEquals([frontEnd.reconnections, frontEnd.configChanges], [1, 1]);
  });
});

Deno.test("vhost-user: one that is stopped while the back end is away stays stopped", async () => {
  await withPeer(ENTROPY, { protocol: 0, queues: 1 }, async (frontEnd, first, libc) => {
    frontEnd.setUpQueue(0, AGAIN);
    frontEnd.setUpQueue(1, AGAIN);
    const looked = nobody(libc);
    first[Symbol.dispose]();
    await looked;
    frontEnd.stopQueue(0);
    libc.connections.length = 0;
    using second = another(libc);
    greet(second, 0);
    second.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL)));
    await wait("another back end", () => frontEnd.reconnections === 1);
    assertEquals(requests(second).filter((name) => name.startsWith("base")), ["base 1 0"]);
    assertEquals([0, 1].map((queue) => frontEnd.takeInterrupt(queue)), [false, true]);
  });
});

Deno.test("vhost-user: a back end that ends while a queue is stopped has stopped it", async () => {
  await withPeer(ENTROPY, { protocol: 0, queues: 1 }, (frontEnd, peer, libc) => {
    nobody(libc);
    frontEnd.setUpQueue(0, AGAIN);
    frontEnd.setUpQueue(1, AGAIN);
    peer[Symbol.dispose]();
    frontEnd.stopQueue(0);
    assertEquals(frontEnd.present, true);
  });
  // Of one that nobody can go on for this is an error.
  await withPeer({ deviceId: DeviceId.NET }, { protocol: 0, features: NET_MQ, queues: 1 }, (
    frontEnd,
    peer,
  ) => {
    frontEnd.setUpQueue(0, QUEUE);
    frontEnd.setUpQueue(1, QUEUE);
    peer[Symbol.dispose]();
    const error = assertThrows(() => frontEnd.stopQueue(0), VireoError);
    assertEquals([error.code, frontEnd.present], ["DEVICE_REMOVED", false]);
  });
});
