import { assertEquals, assertThrows } from "@std/assert";
import { DeviceId, FeatureSet, VireoError } from "@vireo/hal";
import { joinBytes, type Libc, u32s, u64s, type VhostUserFrontEnd } from "@vireo/hal/vhost-user";
import { F, NET_MQ, QUEUE, requests, told, withPeer } from "./front_end_rig.ts";
import { answer, PROTOCOL, R, raw, RawPeer, VERSION_1 } from "./raw_peer.ts";
import { openDescriptors, wait } from "./wait.ts";

const ENTROPY = { deviceId: DeviceId.RNG };
/** A network device of two pairs, whose control queue is the front end's. */
const NET = { deviceId: DeviceId.NET, pairs: 2 };
const TWO_PAIRS = { protocol: F.MQ, features: NET_MQ, queues: 2 };
/** `VIRTIO_NET_F_CTRL_VQ`. */
const CTRL_VQ = 17;

Deno.test("vhost-user: the control queue's feature is offered where this side serves it, and told to nobody", async () => {
  await withPeer(NET, TWO_PAIRS, (frontEnd, peer) => {
    peer.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL + NET_MQ + 2 ** 26)));
    assertEquals([...frontEnd.readFeatures()], [CTRL_VQ, 22, 32]);
    told(peer);
    frontEnd.writeFeatures(FeatureSet.of(CTRL_VQ, 22, 32));
    assertEquals(told(peer), [[R.SET_FEATURES, PROTOCOL + NET_MQ, 1]]);
  });
  // A back end that serves its own has it told.
  await withPeer({ deviceId: DeviceId.NET }, TWO_PAIRS, (frontEnd, peer) => {
    peer.send(answer(R.GET_FEATURES, u64s(VERSION_1)));
    assertEquals([...frontEnd.readFeatures()], [32]);
    told(peer);
    frontEnd.writeFeatures(FeatureSet.of(CTRL_VQ));
    assertEquals(told(peer), [[R.SET_FEATURES, PROTOCOL + (1 << CTRL_VQ), 0]]);
  });
});

Deno.test("vhost-user: the status is the driver's, but for what the back end adds or takes back", async () => {
  const [DRIVER, FEATURES_OK, DRIVER_OK, NEEDS_RESET] = [2, 8, 4, 0x40];
  await withPeer(ENTROPY, { protocol: F.STATUS, queues: 1 }, (frontEnd, peer) => {
    const read = (seen: number): number => {
      peer.send(answer(R.GET_STATUS, u64s(seen)));
      return frontEnd.readStatus();
    };
    told(peer);
    frontEnd.writeStatus(DRIVER);
    assertEquals(told(peer), [[R.SET_STATUS, DRIVER, 0]]);
    // One that keeps none of it, and one that says more than the driver wrote.
    assertEquals([read(0), read(0xff), read(0x140)], [DRIVER, DRIVER | NEEDS_RESET, 0x42]);
    frontEnd.writeStatus(DRIVER | FEATURES_OK);
    assertEquals([read(DRIVER), read(DRIVER | FEATURES_OK)], [DRIVER, DRIVER | FEATURES_OK]);
    assertEquals(read(FEATURES_OK | NEEDS_RESET), DRIVER | FEATURES_OK | NEEDS_RESET);
    assertEquals(read(0x100 | FEATURES_OK), DRIVER | FEATURES_OK);
  });
  await withPeer(ENTROPY, { protocol: 0, queues: 1 }, (frontEnd, peer) => {
    told(peer);
    assertEquals(frontEnd.readStatus(), 0);
    frontEnd.writeStatus(DRIVER | DRIVER_OK);
    assertEquals([frontEnd.readStatus(), told(peer)], [DRIVER | DRIVER_OK, []]);
  });
});

/** The driver's half of a control queue, queue 4, in the memory of a front end from 0x4000 on. */
class ControlDriver {
  readonly ring = { ...QUEUE, desc: 0x4000, driver: 0x5000, device: 0x6000 };
  readonly #frontEnd: VhostUserFrontEnd;
  readonly #libc: Libc;
  readonly #memory: number;
  #count = 0;

  constructor(frontEnd: VhostUserFrontEnd, libc: Libc, memory: number) {
    this.#frontEnd = frontEnd;
    this.#libc = libc;
    this.#memory = memory;
  }

  /** Asks for so many pairs. @returns The ack, 0xee if there is none. */
  pairs(count: number): number {
    const [command, ack] = [0x7000, 0x7010];
    const { desc, driver } = this.ring;
    this.#write(command, Uint8Array.of(4, 0, count & 0xff, count >> 8));
    this.#write(ack, Uint8Array.of(0xee));
    // A descriptor with another one behind it, which the device writes.
    this.#write(desc, joinBytes(u64s(command), u32s(4, 1 | 1 << 16), u64s(ack), u32s(1, 2)));
    this.#write(driver + 4 + 2 * (this.#count++ % 8), Uint8Array.of(0, 0));
    this.#write(driver + 2, Uint8Array.of(this.#count, 0));
    this.#frontEnd.kick(4);
    const got = new Uint8Array(1);
    this.#libc.readAt(this.#memory, got, ack);
    return got[0]!;
  }

  #write(at: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.#libc.writeAt(this.#memory, bytes, at);
  }
}

Deno.test("vhost-user: a command of the control queue has queues enabled, and others disabled", async () => {
  await withPeer(NET, TWO_PAIRS, (frontEnd, peer, libc, memory) => {
    const driver = new ControlDriver(frontEnd, libc, memory);
    told(peer);
    frontEnd.setUpQueue(4, driver.ring);
    assertEquals(told(peer), [], "the back end knows of no control queue");
    for (let queue = 0; queue < 4; queue++) frontEnd.setUpQueue(queue, QUEUE);
    for (let queue = 0; queue < 4; queue++) frontEnd.enableQueue(queue);
    requests(peer);
    assertEquals(frontEnd.takeInterrupt(4), false);
    const cases: readonly (readonly [count: number, ack: number, seen: readonly string[]])[] = [
      [1, 0, []],
      [2, 0, ["enable 2 1", "enable 3 1"]],
      [2, 0, []],
      [0, 1, []],
      [3, 1, []],
      [0x102, 1, []],
      [1, 0, ["enable 2 0", "enable 3 0"]],
      [2, 0, ["enable 2 1", "enable 3 1"]],
    ];
    for (const [count, ack, seen] of cases) {
      assertEquals([driver.pairs(count), requests(peer)], [ack, seen], `${count} pairs`);
      assertEquals([frontEnd.takeInterrupt(4), frontEnd.takeInterrupt(4)], [true, false]);
    }
    // A kick without a command interrupts for nothing.
    frontEnd.kick(4);
    assertEquals(frontEnd.takeInterrupt(4), false);
    frontEnd.stopQueue(4);
    assertEquals([driver.pairs(1), requests(peer)], [0xee, []]);
  });
});

Deno.test("vhost-user: queues of pairs that are in use are enabled when the driver does", async () => {
  await withPeer(NET, TWO_PAIRS, (frontEnd, peer, libc, memory) => {
    const driver = new ControlDriver(frontEnd, libc, memory);
    frontEnd.setUpQueue(4, driver.ring);
    assertEquals(driver.pairs(2), 0);
    for (let queue = 0; queue < 4; queue++) frontEnd.setUpQueue(queue, QUEUE);
    requests(peer);
    for (let queue = 0; queue < 4; queue++) frontEnd.enableQueue(queue);
    assertEquals(requests(peer), ["enable 0 1", "enable 1 1", "enable 2 1", "enable 3 1"]);
  });
});

Deno.test("vhost-user: a reset stops all queues and forgets what was set", async () => {
  const backEnd = {
    ...TWO_PAIRS,
    protocol: F.MQ | F.STATUS | F.RESET_DEVICE,
  };
  await withPeer(NET, backEnd, (frontEnd, peer, libc, memory) => {
    const driver = new ControlDriver(frontEnd, libc, memory);
    const before = openDescriptors();
    frontEnd.writeStatus(15);
    frontEnd.setUpQueue(4, driver.ring);
    for (let queue = 0; queue < 4; queue++) frontEnd.setUpQueue(queue, QUEUE);
    assertEquals([driver.pairs(2), frontEnd.takeInterrupt(4)], [0, true]);
    driver.pairs(2);
    for (let queue = 0; queue < 4; queue++) {
      peer.send(answer(R.GET_VRING_BASE, u32s(queue, 0)));
    }
    told(peer);
    frontEnd.reset();
    assertEquals(told(peer), [
      ...[0, 1, 2, 3].map((queue) => [R.GET_VRING_BASE, queue, 0]),
      [R.SET_STATUS, 0, 0],
      [R.RESET_DEVICE],
    ]);
    assertEquals(openDescriptors(), before);
    // No queue is there any more, and of the pairs the first is in use.
    for (let queue = 0; queue < 5; queue++) {
      frontEnd.kick(queue);
      assertEquals(frontEnd.takeInterrupt(queue), false);
    }
    frontEnd.queueInterrupt(4);
    assertEquals(driver.pairs(1), 0xee);
    for (let queue = 0; queue < 5; queue++) frontEnd.stopQueue(queue);
    peer.send(answer(R.GET_STATUS, u64s(0)));
    assertEquals(frontEnd.readStatus(), 0);
    told(peer);
    frontEnd.setUpQueue(2, QUEUE);
    requests(peer);
    frontEnd.enableQueue(2);
    assertEquals(requests(peer), []);
  });
  await withPeer(ENTROPY, { protocol: 0, queues: 1 }, (frontEnd, peer) => {
    told(peer);
    frontEnd.reset();
    assertEquals(told(peer), [], "one that keeps no status is told nothing");
  });
});

Deno.test("vhost-user: the number of pairs is this side's, the rest of the configuration the back end's", async () => {
  const config = Uint8Array.from({ length: 256 }, (_, i) => i);
  const protocol = F.MQ | F.CONFIG;
  await withPeer(NET, { ...TWO_PAIRS, protocol }, (frontEnd, peer) => {
    assertEquals(frontEnd.hasConfig, true);
    const read = (offset: number, length: number): [number[], number[][]] => {
      const range = joinBytes(u32s(0, offset + length, 0), config.subarray(0, offset + length));
      peer.send(answer(R.GET_CONFIG, range));
      const bytes = [...frontEnd.readConfig(offset, length)];
      return [bytes, told(peer).map((words) => words.slice(0, 4))];
    };
    told(peer);
    assertEquals([...frontEnd.readConfig(8, 2)], [2, 0]);
    assertEquals(told(peer), []);
    // From the first byte on, as some back ends know no offset.
    for (const [offset, length] of [[0, 6], [6, 2], [8, 1], [8, 4], [10, 2], [252, 4]] as const) {
      assertEquals(read(offset, length), [
        Array.from({ length }, (_, i) => offset + i),
        [[R.GET_CONFIG, 0, offset + length, 0]],
      ]);
    }
    frontEnd.writeConfig(3, Uint8Array.of(1, 2, 3, 4));
    assertEquals(told(peer), [[R.SET_CONFIG, 3, 4, 0, 0x0403_0201]]);
    const error = assertThrows(() => frontEnd.readConfig(253, 4), VireoError);
    assertEquals(
      [error.code, error.device, error.register, error.seen],
      ["CONFIG_ACCESS", "/peer", "Config+253", "4 bytes"],
    );
    assertEquals(told(peer), []);
  });
  // One that has no pairs of its own asks for them, too.
  await withPeer(
    { deviceId: DeviceId.NET },
    { ...TWO_PAIRS, protocol },
    (frontEnd, peer) => {
      peer.send(answer(R.GET_CONFIG, joinBytes(u32s(0, 10, 0), config.subarray(0, 10))));
      assertEquals([...frontEnd.readConfig(8, 2)], [8, 9]);
    },
  );
  await withPeer(NET, TWO_PAIRS, (frontEnd, peer) => {
    told(peer);
    assertEquals(frontEnd.hasConfig, false);
    assertEquals([...frontEnd.readConfig(8, 2)], [2, 0]);
    for (
      const access of [
        () => frontEnd.readConfig(0, 6),
        () => frontEnd.writeConfig(0, new Uint8Array(6)),
      ]
    ) {
      const error = assertThrows(access, VireoError);
      assertEquals(
        [error.code, error.register, error.seen],
        ["CONFIG_ACCESS", "Config+0", "6 bytes"],
      );
    }
    assertEquals(told(peer), []);
  });
});

Deno.test("vhost-user: memory goes into a slot where there are slots, once", async () => {
  const backEnd = { protocol: F.MEM_SLOTS, queues: 1 };
  await withPeer(ENTROPY, backEnd, (frontEnd, peer) => {
    const memory = (): number[][] =>
      told(peer).filter(([request]) => request === R.GET_MAX_MEM_SLOTS || request! > 36);
    memory();
    peer.send(answer(R.GET_MAX_MEM_SLOTS, u64s(1)));
    frontEnd.setUpQueue(0, QUEUE);
    assertEquals(memory(), [
      [R.GET_MAX_MEM_SLOTS],
      // The front end's own address of a guest's 0 is 0x1000.
      [R.ADD_MEM_REG, 0, 0, 0, 0, 1 << 20, 0, 0x1000, 0, 0, 0],
    ]);
    frontEnd.setUpQueue(1, QUEUE);
    assertEquals(memory(), []);
  });
  await withPeer(ENTROPY, backEnd, (frontEnd, peer) => {
    peer.send(answer(R.GET_MAX_MEM_SLOTS, u64s(0)));
    const error = assertThrows(() => frontEnd.setUpQueue(0, QUEUE), VireoError);
    assertEquals(
      [error.code, error.seen, error.expected],
      ["BAD_MESSAGE", "0 slots", "at least 1"],
    );
    assertEquals(frontEnd.present, false);
  });
});

Deno.test("vhost-user: a back end is asked for memory for its notes of all queues, and gets it", async () => {
  const disk = { deviceId: DeviceId.BLOCK, reconnect: 1000 };
  const backEnd = { protocol: F.MQ | F.INFLIGHT, queues: 3 };
  await withPeer(disk, backEnd, (frontEnd, peer) => {
    const description = joinBytes(u64s(0x5000, 0x1000), u32s(3 | 1024 << 16));
    peer.send(answer(R.GET_INFLIGHT_FD, description), [peer.memoryFd]);
    told(peer);
    const before = openDescriptors();
    frontEnd.setUpQueue(0, QUEUE);
    assertEquals(told(peer).slice(0, 2), [
      [R.GET_INFLIGHT_FD, 0, 0, 0, 0, 3 | 1024 << 16],
      [R.SET_INFLIGHT_FD, 0x5000, 0, 0x1000, 0, 3 | 1024 << 16],
    ]);
    // The notes, a kick and a call.
    assertEquals(openDescriptors(), before + 3);
    peer.send(answer(R.GET_VRING_BASE, u32s(0, 0)));
    frontEnd.stopQueue(0);
    assertEquals(openDescriptors(), before + 2);
  });
  await withPeer(disk, backEnd, (frontEnd, peer) => {
    peer.send(answer(R.GET_INFLIGHT_FD, joinBytes(u64s(0x5000, 0), u32s(0))));
    const error = assertThrows(() => frontEnd.setUpQueue(0, QUEUE), VireoError);
    assertEquals(
      [error.code, error.seen, error.expected],
      ["BAD_MESSAGE", "20480 bytes", "memory for 3 queues of 1024 requests"],
    );
  });
  // Without a time in which another one may come nobody needs notes.
  await withPeer({ deviceId: DeviceId.BLOCK }, backEnd, (frontEnd, peer) => {
    told(peer);
    frontEnd.setUpQueue(0, QUEUE);
    assertEquals(told(peer).map(([request]) => request), [
      ...[R.SET_MEM_TABLE, R.SET_VRING_NUM, R.SET_VRING_BASE, R.SET_VRING_ADDR],
      ...[R.SET_VRING_CALL, R.SET_VRING_KICK],
    ]);
  });
});

Deno.test("vhost-user: a front end has the descriptors that it needs, and none once it is closed", async () => {
  await withPeer(ENTROPY, { protocol: 0, queues: 1 }, (frontEnd, peer) => {
    const before = openDescriptors();
    frontEnd.kick(0);
    assertEquals([frontEnd.takeInterrupt(0), openDescriptors()], [false, before]);
    frontEnd.queueInterrupt(0);
    assertEquals(openDescriptors(), before + 2);
    frontEnd.kick(0);
    frontEnd.queueInterrupt(0);
    assertEquals(openDescriptors(), before + 2);
    told(peer);
    frontEnd[Symbol.dispose]();
    // The socket, what interrupts for the configuration, and those of the queue.
    assertEquals([frontEnd.present, openDescriptors()], [false, before - 2]);
    for (
      const call of [
        () => frontEnd.readFeatures(),
        () => frontEnd.readStatus(),
        () => frontEnd.writeStatus(0),
        () => frontEnd.reset(),
        () => frontEnd.enableQueue(0),
        () => frontEnd.setUpQueue(0, QUEUE),
      ]
    ) {
      const error = assertThrows(
        call,
        VireoError,
        "The connection to the back end of /peer was closed",
      );
      assertEquals(error.code, "DEVICE_REMOVED");
    }
    frontEnd.stopQueue(0);
    frontEnd[Symbol.dispose]();
    assertEquals(openDescriptors(), before - 2);
  });
});

Deno.test("vhost-user: a refusal is the caller's, and the next request may succeed", async () => {
  const backEnd = { protocol: F.REPLY_ACK | F.STATUS, queues: 1 };
  await withPeer(ENTROPY, backEnd, (frontEnd, peer) => {
    peer.send(answer(R.SET_STATUS, u64s(5)));
    const error = assertThrows(() => frontEnd.writeStatus(1), VireoError);
    assertEquals(
      [error.code, error.seen, frontEnd.present],
      ["COMMAND_REFUSED", "0x5 for SET_STATUS", true],
    );
    peer.send(answer(R.SET_STATUS, u64s(0)));
    frontEnd.writeStatus(3);
    peer.send(answer(R.GET_STATUS, u64s(0)));
    assertEquals(frontEnd.readStatus(), 3);
  });
});

Deno.test("vhost-user: an answer is waited for until it is there, or the deadline", async () => {
  const backEnd = { protocol: F.STATUS, queues: 1 };
  await withPeer({ ...ENTROPY, deadline: 5000 }, backEnd, (frontEnd, peer, libc) => {
    const waits: boolean[] = [];
    libc.waiting = (fds, milliseconds) => {
      waits.push(fds.length === 1 && milliseconds > 4000 && milliseconds <= 5000);
      // The answer comes in two parts.
      const bytes = answer(R.GET_STATUS, u64s(0x40));
      peer.send(waits.length === 1 ? bytes.subarray(0, 13) : bytes.subarray(13));
    };
    assertEquals([frontEnd.readStatus(), waits], [0x40, [true, true]]);
  });
  await withPeer({ ...ENTROPY, deadline: 2 }, backEnd, (frontEnd) => {
    const error = assertThrows(() => frontEnd.readStatus(), VireoError);
    assertEquals([error.code, error.message], [
      "TIMEOUT",
      "Timed out after 2 ms waiting for the back end of /peer to answer GET_STATUS",
    ]);
  });
});

Deno.test("vhost-user: a back end may ask before it answers, and is answered first", async () => {
  const backEnd = { protocol: F.STATUS | F.BACKEND_REQ, queues: 1 };
  await withPeer(ENTROPY, backEnd, (frontEnd, peer, libc) => {
    const fds: number[] = [];
    told(peer, fds);
    using asks = new RawPeer(libc, fds[0]!);
    const [CONFIG_CHANGE, NEED_REPLY] = [2, 8];
    const waits: number[] = [];
    libc.waiting = (fds) => {
      waits.push(fds.length);
      if (waits.length === 1) asks.send(raw(CONFIG_CHANGE, undefined, { flags: 1 | NEED_REPLY }));
      if (waits.length < 2) return;
      assertEquals(told(asks), [[CONFIG_CHANGE, 0, 0]]);
      peer.send(answer(R.GET_STATUS, u64s(0x40)));
    };
    assertEquals([frontEnd.readStatus(), waits], [0x40, [2, 2]]);
    assertEquals(frontEnd.configChanges, 1);
    // A question that wants no answer gets none.
    waits.length = 0;
    libc.waiting = () => {
      waits.push(0);
      if (waits.length === 1) asks.send(raw(CONFIG_CHANGE));
      else peer.send(answer(R.GET_STATUS, u64s(0)));
    };
    frontEnd.readStatus();
    assertEquals([told(asks), frontEnd.configChanges], [[], 2]);
    // It may end that connection alone, which is not waited for then.
    waits.length = 0;
    libc.waiting = (fds) => {
      waits.push(fds.length);
      if (waits.length === 1) asks[Symbol.dispose]();
      else peer.send(answer(R.GET_STATUS, u64s(2)));
    };
    frontEnd.readStatus();
    assertEquals([waits, frontEnd.present], [[2, 1], true]);
  });
});

Deno.test("vhost-user: what a closed front end watched is not watched any more", async () => {
  const backEnd = { protocol: F.BACKEND_REQ, queues: 1 };
  await withPeer(ENTROPY, backEnd, async (frontEnd, peer, libc) => {
    const turns = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    // The connection, that of the back end's questions, the interrupts of the configuration and a queue.
    frontEnd.queueInterrupt(0);
    await wait("all to be watched", () => libc.watched === 4);
    const fds: number[] = [];
    told(peer, fds);
    fds.forEach((fd) => libc.close(fd));
    // Nobody asks any more on what the back end was given for it.
    await wait("the end of its questions", () => libc.watched === 3);
    const parks = libc.parks;
    await turns();
    assertEquals(libc.parks, parks, "nothing is polled that is ready and not taken");
    frontEnd[Symbol.dispose]();
    await turns();
    const rest = libc.parks;
    await turns();
    assertEquals(libc.parks, rest);
  });
});
