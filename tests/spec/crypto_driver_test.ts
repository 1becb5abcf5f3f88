// What the crypto driver sends, byte by byte: every number is typed from virtio 1.4 §5.9.
import { assertEquals, assertRejects } from "@std/assert";
import { CryptoDevice, type CryptoDeviceOptions } from "@vireo/emu";
import { VireoError } from "@vireo/hal";
import type { Buffer } from "node:buffer";
import { generateKeyPairSync } from "node:crypto";
import { type Crypto, cryptoDriver } from "../../drivers/crypto/mod.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { at, le, type Recording, type Taken } from "./recorder.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
/** Why a test has the device need a reset. */
const INJECTED = "as the test wants";
const bytes = (length: number, from = 1): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length }, (_, i) => from + i);

type Rig = RecordedRig<"crypto", CryptoDevice, Crypto>;

/** A device with one data queue, so that queue 1 is the control queue. */
function boot(options: CryptoDeviceOptions = {}): Promise<Rig> {
  return bootRecorded("crypto", new CryptoDevice(options), cryptoDriver, { injected: INJECTED });
}

const pair = generateKeyPairSync("rsa", { modulusLength: 1024 });
const der = (key: typeof pair.privateKey): Uint8Array<ArrayBuffer> =>
  new Uint8Array(key.export({ format: "der", type: "pkcs1" }) as Buffer);
const PRIVATE = { type: 2, der: der(pair.privateKey), size: 128 } as const;
const PUBLIC = { type: 1, der: der(pair.publicKey), size: 128 } as const;
const PKCS1 = { padding: 1, hash: 6 } as const;
const KEY = bytes(16, 0x40);
const IV = bytes(16, 0x80);
const DATA = bytes(32);
const AAD = bytes(5, 0xa0);

/** A service: what its session is made of, and one request. */
interface Case {
  readonly name: string;
  readonly create: number;
  readonly destroy: number;
  readonly run: (crypto: Crypto, stateless: boolean) => Promise<unknown>;
  /** The fixed part of each session after the control header, and its key. */
  readonly sessions: readonly { readonly fixed: Uint8Array; readonly key: Uint8Array }[];
  /** Each data request: opcode, algorithm, fixed parts with and without a session, what follows, room. */
  readonly requests: readonly {
    readonly opcode: number;
    readonly algo: number;
    readonly session: number;
    readonly fixed: Uint8Array;
    readonly stateless: Uint8Array;
    readonly key: Uint8Array;
    readonly rest: Uint8Array;
    readonly room: number;
  }[];
}

/** Bytes with zeroes up to a length, and a 32-bit `op_type` 1 (SYM_OP_CIPHER) at the end. */
function sym(size: number, ...words: number[]): Uint8Array {
  const part = new Uint8Array(size);
  part.set(le(...words));
  part.set(le(1), size - 8);
  return part;
}

const padded = (size: number, ...words: number[]): Uint8Array => {
  const part = new Uint8Array(size);
  part.set(le(...words));
  return part;
};
const NONE = new Uint8Array(0);

const sealed = async (key: Uint8Array<ArrayBuffer>): Promise<Uint8Array> => {
  const web = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  const algorithm = { name: "AES-GCM", iv: IV.slice(0, 12), additionalData: AAD };
  return new Uint8Array(await crypto.subtle.encrypt(algorithm, web, DATA));
};
const SEALED = await sealed(KEY);

const CASES: readonly Case[] = [
  {
    name: "CIPHER",
    create: 0x0002,
    destroy: 0x0003,
    run: async (crypto, stateless) => {
      await using cipher = await crypto.cipher(3, KEY, { ...SOON, stateless });
      await cipher.encrypt(IV, DATA, SOON);
      await cipher.decrypt(IV, DATA, SOON);
    },
    // algo, key_len, op; 36 bytes of the chain form; op_type; padding.
    sessions: [1, 2].map((op) => ({ fixed: sym(56, 3, 16, op), key: KEY })),
    requests: [0, 1].map((operation) => ({
      opcode: operation,
      algo: 3,
      session: operation,
      // iv_len, src_data_len, dst_data_len.
      fixed: sym(48, 16, 32, 32),
      stateless: padded(76, 3, 16, 1 + operation, 16, 32, 32),
      key: KEY,
      rest: le(IV, DATA),
      room: 32,
    })),
  },
  {
    name: "HASH",
    create: 0x0102,
    destroy: 0x0103,
    run: async (crypto, stateless) => {
      await using hash = await crypto.hash(4, { ...SOON, stateless });
      await hash.digest(DATA, SOON);
    },
    sessions: [{ fixed: le(4, 32), key: NONE }],
    requests: [{
      opcode: 0x0100,
      algo: 4,
      session: 0,
      fixed: le(32, 32),
      stateless: le(4, 32, 32, 0),
      key: NONE,
      rest: DATA,
      room: 32,
    }],
  },
  {
    name: "MAC",
    create: 0x0202,
    destroy: 0x0203,
    run: async (crypto, stateless) => {
      await using mac = await crypto.mac(4, KEY, { ...SOON, stateless });
      await mac.digest(DATA, SOON);
    },
    sessions: [{ fixed: le(4, 32, 16, 0), key: KEY }],
    requests: [{
      opcode: 0x0200,
      algo: 4,
      session: 0,
      fixed: le(32, 32),
      stateless: le(4, 16, 32, 32),
      key: KEY,
      rest: DATA,
      room: 32,
    }],
  },
  {
    name: "AEAD",
    create: 0x0302,
    destroy: 0x0303,
    run: async (crypto, stateless) => {
      const nonce = IV.subarray(0, 12);
      await using aead = await crypto.aead(1, KEY, { ...SOON, stateless, aadSize: 5 });
      await aead.encrypt(nonce, DATA, AAD, SOON);
      await aead.decrypt(nonce, SEALED, AAD, SOON);
    },
    // algo, key_len, tag_len, aad_len, op, padding.
    sessions: [1, 2].map((op) => ({ fixed: le(1, 16, 16, 5, op, 0), key: KEY })),
    requests: [0, 1].map((operation) => {
      const [src, dst] = operation === 0 ? [32, 48] : [48, 32];
      return {
        opcode: 0x0300 | operation,
        algo: 1,
        session: operation,
        // iv_len, aad_len, src_data_len, dst_data_len, tag_len, reserved.
        fixed: le(12, 5, src, dst, 16, 0),
        // algo, key_len, op; iv_len, tag_len, aad_len, src_data_len, dst_data_len.
        stateless: le(1, 16, 1 + operation, 12, 16, 5, src, dst),
        key: KEY,
        rest: le(IV.slice(0, 12), operation === 0 ? DATA : SEALED, AAD),
        room: dst,
      };
    }),
  },
  {
    name: "AKCIPHER",
    create: 0x0404,
    destroy: 0x0405,
    run: async (crypto, stateless) => {
      const options = { ...SOON, ...PKCS1, stateless };
      await using key = await crypto.rsa(PRIVATE, options);
      const signature = await key.sign(DATA, SOON);
      await using open = await crypto.rsa(PUBLIC, options);
      await open.verify(signature, DATA, SOON);
      await key.decrypt(await open.encrypt(DATA, SOON), SOON);
    },
    sessions: [PRIVATE, PUBLIC].map(({ type, der }) => ({
      // algo, key_type, key_len, padding_algo, hash_algo.
      fixed: padded(56, 1, type, der.length, 1, 6),
      key: der,
    })),
    requests: [
      { operation: 2, key: PRIVATE, src: 32, dst: 128, room: 128 },
      { operation: 3, key: PUBLIC, src: 128, dst: 32, room: 0 },
      { operation: 0, key: PUBLIC, src: 32, dst: 128, room: 128 },
      { operation: 1, key: PRIVATE, src: 128, dst: 128, room: 128 },
    ].map(({ operation, key, src, dst, room }) => ({
      opcode: 0x0400 | operation,
      algo: 1,
      session: key === PRIVATE ? 0 : 1,
      fixed: le(src, dst),
      stateless: le(1, key.type, key.der.length, 1, 6, src, dst),
      key: key.der,
      // Only the part of it that is the same each time is compared.
      rest: src === 32 ? DATA : NONE,
      room,
    })),
  },
];

/** What each service is held to, with sessions and without. */
const CLAUSES: Readonly<Record<string, readonly [string, string]>> = {
  CIPHER: ["drv.crypto.sym.2-4", "drv.crypto.sym.2-4"],
  HASH: ["drv.crypto.hash.1-3", "drv.crypto.hash.2, .3"],
  MAC: ["drv.crypto.mac.1-3", "drv.crypto.mac.2, .3"],
  AEAD: ["drv.crypto.aead.1-3", "drv.crypto.aead.2, .3"],
  AKCIPHER: ["drv.crypto.akcipher.1-3", "drv.crypto.akcipher.2, .3"],
};

const ofQueue = ({ chains }: Recording, queue: number): Taken[] =>
  chains.filter((chain) => chain.queue === queue);

for (const { name, create, destroy, run, sessions, requests } of CASES) {
  const [data, stateless] = CLAUSES[name]!;
  Deno.test(`spec crypto: ${name} in session mode (drv.crypto.session-create.1-3, .session-destroy.1, .session-destroy.2; ${data})`, async () => {
    await using rig = await boot();
    await run(rig.crypto, false);
    const control = ofQueue(rig.seen, 1);
    const created = control.filter(({ read }) => at(read, 0) === create);
    assertEquals(created.length + created.length, control.length, "created, and destroyed");
    created.forEach(({ read, readable, writable }, i) => {
      const { fixed, key } = sessions[i]!;
      // Opcode, algorithm, flag, reserved; the fixed part; the key; room for id, status and padding.
      assertEquals(read, le(create, at(fixed, 0), 0, 0, fixed, key));
      assertEquals([readable.length <= 2, writable], [true, [16]]);
    });
    const ids = created.map(({ written }) => at(written!, 0, 8));
    assertEquals(new Set(ids).size, sessions.length);
    const destroyed = control.filter(({ read }) => at(read, 0) === destroy);
    const gone = destroyed.map(({ read, writable }) => {
      assertEquals([read.length, at(read, 12), writable], [24, 0, [1]]);
      return at(read, 16, 8);
    });
    assertEquals(gone.sort(), ids.toSorted(), "as the device numbered them");
    const served = ofQueue(rig.seen, 0);
    assertEquals(served.length, requests.length);
    requests.forEach(({ opcode, algo, session, fixed, rest, room }, i) => {
      const { read, writable } = served[i]!;
      // The flag says that it is a session's.
      const head = le(opcode, algo, [ids[session]!, 8], 1, 0, fixed);
      assertEquals(read.subarray(0, head.length), head);
      assertEquals(read.subarray(head.length, head.length + rest.length), rest);
      assertEquals(writable.reduce((sum, length) => sum + length), room + 1);
    });
  });

  Deno.test(`spec crypto: ${name} without a session (${stateless})`, async () => {
    await using rig = await boot();
    await run(rig.crypto, true);
    assertEquals(ofQueue(rig.seen, 1), []);
    const served = ofQueue(rig.seen, 0);
    assertEquals(served.length, requests.length);
    requests.forEach(({ opcode, algo, stateless, key, rest }, i) => {
      const { read } = served[i]!;
      const body = stateless.slice();
      // op_type of the stateless symmetric form is its last word.
      if (name === "CIPHER") body.set(le(1), 72);
      const head = le(opcode, algo, [0, 8], 0, 0, body, key);
      assertEquals(read.subarray(0, head.length), head);
      assertEquals(read.subarray(head.length, head.length + rest.length), rest);
    });
  });
}

Deno.test("spec crypto: HW_READY is looked at before requests, and again after a reset (drv.crypto.config.1)", async () => {
  await using rig = await boot();
  const { crypto, model, seen } = rig;
  await (await crypto.hash(4, SOON)).close(SOON);
  // The device loses it with the reset, and says nothing of it: only a driver that looks can know.
  const read = model.readConfig.bind(model);
  const reset = model.reset.bind(model);
  model.reset = () => {
    reset();
    model.readConfig = (offset, width) => offset === 0 ? 0 : read(offset, width);
  };
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault(INJECTED);
  await recovered;
  const before = seen.chains.length;
  await assertRejects(() => crypto.hash(4, SOON), VireoError, "not ready");
  assertEquals(seen.chains.length, before);
  model.readConfig = read;
  model.reset = reset;
  model.setReady(true);
  while (!crypto.offer.ready) await turn();
  await using hash = await crypto.hash(4, SOON);
  assertEquals(hash.size, 32);
});

Deno.test("spec crypto: services, algorithms and queues are the device's, and all queues are set up (drv.crypto.config.3, .4, .6; drv.crypto.init.1-3)", async () => {
  await using rig = await boot({ queues: 7 });
  const { services, ciphers, hashes, macs, aeads, akciphers, queues } = rig.crypto.offer;
  const word = (offset: number): number[] =>
    Array.from({ length: 32 }, (_, bit) => bit).filter((bit) =>
      (rig.model.readConfig(offset, 4) >>> bit & 1) === 1
    );
  // Offsets: crypto_services 8, cipher_algo_l 12, hash_algo 20, mac_algo_l 24, aead_algo 32, akcipher_algo 44.
  for (
    const [offset, seen] of [
      [8, services],
      [12, ciphers],
      [20, hashes],
      [24, macs],
      [32, aeads],
      [44, akciphers],
    ] as const
  ) assertEquals([...seen], word(offset), `offset ${offset}`);
  assertEquals(queues, 7);
  const device = rig.machine.device(0);
  assertEquals(device.configs.map((_, i) => device.queue(i)?.index), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(rig.bus.devices[0]!.queues.find(({ name }) => name === "controlq")!.index, 7);
});

Deno.test("spec crypto: all of 64 data queues are set up and used (drv.crypto.init.1)", async () => {
  await using rig = await boot({ queues: 64 });
  const device = rig.machine.device(0);
  assertEquals(
    device.configs.map((_, i) => device.queue(i)?.index),
    Array.from({ length: 65 }, (_, i) => i),
  );
  await using hash = await rig.crypto.hash(4, SOON);
  await Promise.all(Array.from({ length: 64 }, () => hash.digest(Uint8Array.of(1), SOON)));
  const used = device.configs.map((_, i) => {
    const position = device.position(i)!;
    return "usedIndex" in position ? position.usedIndex : undefined;
  });
  assertEquals(used.slice(0, 64), Array(64).fill(1));
});

Deno.test("spec crypto: other bits of the status than HW_READY say nothing of it (drv.crypto.config.1)", async () => {
  await using rig = await boot();
  const { crypto, model, seen } = rig;
  const read = model.readConfig.bind(model);
  model.readConfig = (offset, width) => offset === 0 ? 0xfffffffe : read(offset, width);
  rig.machine.device(0).configChanged();
  while (crypto.offer.ready) await turn();
  const before = seen.chains.length;
  await assertRejects(() => crypto.hash(4, SOON), VireoError, "not ready");
  assertEquals(seen.chains.length, before);
  model.readConfig = (offset, width) => offset === 0 ? 0xffffffff : read(offset, width);
  rig.machine.device(0).configChanged();
  while (!crypto.offer.ready) await turn();
  await (await crypto.hash(4, SOON)).close(SOON);
});

Deno.test("spec crypto: what the device does not offer is not asked of it (drv.crypto.config.3, .6)", async () => {
  const mac = { algo: 4 as const, key: KEY };
  const cipher = { algo: 3, key: KEY };
  const calls: Readonly<Record<string, (crypto: Crypto) => Promise<unknown>>> = {
    cipher: (crypto) => crypto.cipher(3, KEY, SOON),
    hash: (crypto) => crypto.hash(4, SOON),
    mac: (crypto) => crypto.mac(4, KEY, SOON),
    aead: (crypto) => crypto.aead(1, KEY, SOON),
    rsa: (crypto) => crypto.rsa(PRIVATE, { ...SOON, ...PKCS1 }),
    "cipher and mac": (crypto) => crypto.chain({ cipher, mac }, SOON),
    "cipher and hash": (crypto) => crypto.chain({ cipher, hash: 4 }, SOON),
  };
  const all = Object.keys(calls);
  // By the offset of what is 0: services 8, ciphers 12, hashes 20, MACs 24, AEADs 32, akciphers 44.
  for (
    const [zero, without] of [
      [12, ["cipher", "cipher and mac", "cipher and hash"]],
      [20, ["hash", "cipher and hash"]],
      [24, ["mac", "cipher and mac"]],
      [32, ["aead"]],
      [44, ["rsa"]],
      [8, all],
    ] as const
  ) {
    await using rig = await boot();
    const { crypto, model, seen } = rig;
    const read = model.readConfig.bind(model);
    model.readConfig = (offset, width) => offset === zero ? 0 : read(offset, width);
    rig.machine.device(0).configChanged();
    await turn();
    const before = seen.chains.length;
    for (const name of without) {
      const { code } = await assertRejects(() => calls[name]!(crypto), VireoError);
      assertEquals([name, code, seen.chains.length], [name, "UNSUPPORTED", before]);
    }
    for (const name of all.filter((name) => !(without as readonly string[]).includes(name))) {
      await calls[name]!(crypto);
    }
  }
});

Deno.test("spec crypto: keys and contents over the device's limits are not sent (drv.crypto.config.8, .10, .12)", async () => {
  await using rig = await boot({ maxSize: 129 });
  const { crypto, seen } = rig;
  const refused = async (run: () => Promise<unknown>): Promise<void> => {
    const before = seen.chains.length;
    await assertRejects(run, VireoError);
    assertEquals(seen.chains.length, before);
  };
  // max_cipher_key_len is 32, max_auth_key_len 128.
  await refused(() => crypto.cipher(3, bytes(33)));
  await refused(() => crypto.aead(1, bytes(33)));
  await refused(() => crypto.mac(4, bytes(129)));
  await using mac = await crypto.mac(4, bytes(128), SOON);
  await using cipher = await crypto.cipher(3, bytes(32), SOON);
  // IV, source, destination and status: 16 + 48 + 48 + 1, then 16 + 64 + 64 + 1.
  assertEquals((await cipher.encrypt(IV, bytes(48), SOON)).length, 48);
  await refused(() => cipher.encrypt(IV, bytes(64), SOON));
  assertEquals((await mac.digest(bytes(96), SOON)).length, 32);
  await refused(() => mac.digest(bytes(97), SOON));
});
