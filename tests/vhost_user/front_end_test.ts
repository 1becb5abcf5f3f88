import { assertEquals } from "@std/assert";
import { DeviceId, VireoError } from "@vireo/hal";
import { u32s, u64s } from "@vireo/hal/vhost-user";
import {
  F,
  type FrontEndOptions,
  greet,
  GREETING,
  NET_MQ,
  QUEUE,
  requests,
  withPeer,
} from "./front_end_rig.ts";
import { answer, PROTOCOL, R, RawPeer, VERSION_1 } from "./raw_peer.ts";
import { wait } from "./wait.ts";

Deno.test("vhost-user: this side serves the control queue of network devices with several pairs alone", async () => {
  const cases: readonly [
    options: Pick<FrontEndOptions, "deviceId" | "pairs">,
    features: number,
    queues: number,
    seen: readonly [pairs: number, queues: number],
  ][] = [
    [{ deviceId: DeviceId.NET }, NET_MQ, 4, [0, 8]],
    [{ deviceId: DeviceId.NET, pairs: 1 }, NET_MQ, 4, [0, 8]],
    [{ deviceId: DeviceId.NET, pairs: 2 }, NET_MQ, 4, [2, 5]],
    [{ deviceId: DeviceId.NET, pairs: 9 }, NET_MQ, 4, [4, 9]],
    [{ deviceId: DeviceId.NET, pairs: 2 }, NET_MQ, 1, [0, 2]],
    [{ deviceId: DeviceId.NET, pairs: 2 }, 0, 4, [0, 8]],
    [{ deviceId: DeviceId.BLOCK, pairs: 2 }, NET_MQ, 8, [0, 8]],
  ];
  for (const [options, features, queues, seen] of cases) {
    await withPeer(options, { protocol: F.MQ, features, queues }, (frontEnd) => {
      assertEquals([frontEnd.pairs, frontEnd.queues], seen, JSON.stringify(options));
    });
  }
});

Deno.test("vhost-user: queues of pairs that are not in use stay disabled, all others are enabled", async () => {
  const net = { deviceId: DeviceId.NET, pairs: 2 };
  await withPeer(net, { protocol: F.MQ, features: NET_MQ, queues: 2 }, (frontEnd, peer) => {
    for (let queue = 0; queue < 4; queue++) frontEnd.setUpQueue(queue, QUEUE);
    requests(peer);
    for (let queue = 0; queue < 4; queue++) frontEnd.enableQueue(queue);
    assertEquals(requests(peer), ["enable 0 1", "enable 1 1"]);
  });
  await withPeer({ deviceId: DeviceId.NET }, { protocol: F.MQ, queues: 2 }, (frontEnd, peer) => {
    for (let queue = 0; queue < 4; queue++) frontEnd.setUpQueue(queue, QUEUE);
    requests(peer);
    for (let queue = 0; queue < 4; queue++) frontEnd.enableQueue(queue);
    assertEquals(requests(peer), ["enable 0 1", "enable 1 1", "enable 2 1", "enable 3 1"]);
  });
});

Deno.test("vhost-user: the notes of requests under way are kept until the last queue stops", async () => {
  const disk = { deviceId: DeviceId.BLOCK, reconnect: 1000 };
  await withPeer(disk, { protocol: F.MQ | F.INFLIGHT, queues: 2 }, (frontEnd, peer) => {
    const stop = (queue: number): void => {
      peer.send(answer(R.GET_VRING_BASE, u32s(queue, 0)));
      frontEnd.stopQueue(queue);
    };
    const notes = (): string[] =>
      requests(peer).filter((request) =>
        [R.GET_INFLIGHT_FD, R.SET_INFLIGHT_FD].includes(Number(request) as never)
      );
    const asked = [`${R.GET_INFLIGHT_FD}`, `${R.SET_INFLIGHT_FD}`];
    const description = answer(R.GET_INFLIGHT_FD, new Uint8Array(24));
    peer.send(description, [peer.memoryFd]);
    frontEnd.setUpQueue(0, QUEUE);
    frontEnd.setUpQueue(1, QUEUE);
    assertEquals(notes(), asked);
    stop(0);
    frontEnd.setUpQueue(0, QUEUE);
    assertEquals(notes(), []);
    stop(0);
    stop(1);
    peer.send(description, [peer.memoryFd]);
    frontEnd.setUpQueue(1, QUEUE);
    assertEquals(notes(), asked);
  });
});

Deno.test("vhost-user: a back end that comes back is told what the first one was told", async () => {
  const entropy = { deviceId: DeviceId.RNG, reconnect: 20_000 };
  await withPeer(entropy, { protocol: 0, queues: 1 }, async (frontEnd, first, libc) => {
    const peers = new DisposableStack();
    using _ = peers;
    /** Another back end, which the front end finds after as many looks that miss. */
    const another = (misses: number): RawPeer => {
      const [fd, theirs] = libc.socketPair();
      const peer = peers.use(new RawPeer(libc, theirs));
      greet(peer, 0);
      // It is asked again whether it is the same device.
      peer.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL)));
      for (let miss = 0; miss < misses; miss++) {
        libc.connections.push(() => {
          throw new VireoError("HOST_ERROR", "Nobody listens");
        });
      }
      libc.connections.push(() => fd);
      return peer;
    };
    const { SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_CALL, SET_VRING_KICK } = R;
    const queue = (index: number, base: number): string[] => [
      ...[`${SET_VRING_NUM}`, `base ${index} ${base}`],
      ...[SET_VRING_ADDR, SET_VRING_CALL, SET_VRING_KICK].map(String),
    ];
    const greeting = GREETING.map(String);
    const memory = String(R.SET_MEM_TABLE);
    frontEnd.setUpQueue(0, { ...QUEUE, again: () => 5 });
    frontEnd.setUpQueue(1, { ...QUEUE, packed: true, again: () => 0x8006 });
    frontEnd.enableQueue(0);
    const told = [memory, ...queue(0, 0), ...queue(1, 0x8000_8000), "enable 0 1"];
    assertEquals(requests(first), [...greeting, ...told]);

    assertEquals([frontEnd.configChanges, frontEnd.takeInterrupt(0)], [0, false]);

    const second = another(2);
    first[Symbol.dispose]();
    await wait("another back end", () => frontEnd.reconnections === 1);
    const again = [
      ...[...greeting, String(R.GET_FEATURES), memory],
      ...[...queue(0, 5), "enable 0 1", ...queue(1, 0x8006)],
    ];
    assertEquals(requests(second), again);
    assertEquals([frontEnd.present, frontEnd.configChanges], [true, 1]);
    // The one before may have used buffers without a call.
    assertEquals([0, 1].map((index) => frontEnd.takeInterrupt(index)), [true, true]);

    // One that is needed at once is waited for.
    const third = another(2);
    third.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL + 1)));
    second[Symbol.dispose]();
    assertEquals([...frontEnd.readFeatures()], [0, 32]);
    assertEquals(requests(third), [...again, String(R.GET_FEATURES)]);
    assertEquals([frontEnd.reconnections, libc.connections.length], [2, 0]);
  });
});
