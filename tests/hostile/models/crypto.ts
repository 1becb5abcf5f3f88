import { assert, assertEquals } from "@std/assert";
import { CryptoDevice, type CryptoDeviceOptions } from "@vireo/emu";
import { generateKeyPairSync } from "node:crypto";
import { bytesOf, concat, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

// Typed again from virtio 1.4 §5.9.
const [DATA, CONTROL] = [0, 1] as const;
const [CIPHER, HASH, MAC, AEAD, AKCIPHER] = [0, 1, 2, 3, 4] as const;
const [OK, ERR, NOTSUPP, NOSPC] = [0, 1, 3, 5] as const;
const AES_CBC = 4;
const GCM = 1;
const SHA_256 = 4;

const rig = (options: CryptoDeviceOptions = {}, how: RigOptions = {}) =>
  new Rig(new CryptoDevice(options), how);

const header = (service: number, operation = 2): Uint8Array =>
  concat(bytesOf([4, service << 8 | operation]), new Uint8Array(12));

/** Creates a session, and returns its status and id. */
async function create(
  it: Rig<CryptoDevice>,
  service: number,
  words: readonly number[],
  key: Uint8Array,
) {
  const body = new Uint8Array(it.driver.features.has(0) ? [56, 8, 16, 24, 56][service]! : 56);
  body.set(bytesOf(...words.map((word) => [4, word] as const)).subarray(0, body.length));
  // The kind of symmetric operation comes last.
  if (service === CIPHER) body.set(bytesOf([4, 1]), 48);
  const operation = service === AKCIPHER ? 4 : 2;
  const answer = await it.send(CONTROL, concat(header(service, operation), body, key), 16);
  const view = new DataView(answer.buffer);
  return { status: view.getUint32(8, true), id: view.getUint32(0, true) };
}

/** Hostile drivers of the crypto device. */
export const CRYPTO: HostileSuite = {
  model: "crypto",
  cases: [
    {
      name:
        "creating a session answers OK, NOTSUPP, NOSPC or ERR, and nothing else [dev.crypto.session-create.3]",
      async run(random) {
        for (const withhold of [[], [0, 1, 2, 3, 4, 5]]) {
          await using it = rig({ maxSessions: 1, withhold });
          const garbage = Uint8Array.from({ length: 200 }, () => random());
          const rsa = await create(it, AKCIPHER, [1, 2, 200, 1, 7], garbage);
          assertEquals(rsa, { status: ERR, id: 0 }, "a key that is none");
          assertEquals((await create(it, AKCIPHER, [9, 2, 200, 1, 7], garbage)).status, NOTSUPP);
          assertEquals(
            (await create(it, CIPHER, [AES_CBC, 16, 1], garbage.subarray(0, 16))).status,
            OK,
          );
          const full = await create(it, CIPHER, [AES_CBC, 16, 1], garbage.subarray(0, 16));
          assertEquals(full.status, withhold.length === 0 ? NOSPC : ERR);
          for (let i = 0; i < 100; i++) {
            const words = Array.from({ length: 11 }, () => random() >>> random() % 32);
            const { status } = await create(it, i % 5, words, garbage);
            assert([0, 1, 3, 5].includes(status), `${status}`);
          }
          it.check();
        }
      },
    },
    {
      name: "a tag of 99 bytes is refused with the session, as are keys over what the device says",
      async run() {
        await using it = rig();
        const key = new Uint8Array(300);
        for (const tag of [0, 3, 5, 11, 17, 99, 0xffffffff]) {
          assertEquals(
            (await create(it, AEAD, [GCM, 16, tag, 0, 1], key)).status,
            ERR,
            `tag ${tag}`,
          );
        }
        assertEquals((await create(it, AEAD, [GCM, 16, 16, 0, 1], key)).status, OK);
        assertEquals((await create(it, MAC, [SHA_256, 32, 129], key)).status, ERR);
        assertEquals((await create(it, MAC, [SHA_256, 32, 128], key)).status, OK);
        assertEquals((await create(it, HASH, [SHA_256, 32], key)).status, OK);
        assertEquals((await create(it, CIPHER, [AES_CBC, 0xffffffff, 1], key)).status, ERR);
      },
    },
    {
      name:
        "requests of one notification are answered in their order, or the other way where that is asked for",
      async run() {
        for (const reverse of [undefined, false, true]) {
          await using it = rig(reverse === undefined ? {} : { reverse });
          const order: number[] = [];
          for (const i of [0, 1, 2]) {
            const read = concat(bytesOf([4, 99 << 8]), new Uint8Array(68));
            void it.queue(DATA).add([{ read }, { write: 1 }]).then(() => order.push(i));
          }
          it.queue(DATA).kick();
          it.driver.interrupt();
          await it.turn();
          assertEquals(order, reverse === true ? [2, 1, 0] : [0, 1, 2]);
        }
      },
    },
    {
      name: "a MAC without a session takes no longer key than one with a session",
      async run() {
        await using it = rig();
        const ask = async (keyLength: number): Promise<[status: number, written: boolean]> => {
          const body = new Uint8Array(48);
          body.set(bytesOf([4, SHA_256], [4, keyLength], [4, 3], [4, 32]));
          const key = new Uint8Array(keyLength).fill(5);
          const request = concat(
            bytesOf([4, MAC << 8]),
            new Uint8Array(20),
            body,
            key,
            bytesOf([4, 1]),
          );
          const answer = await it.send(DATA, request, 33);
          return [answer[32]!, answer.subarray(0, 32).some((byte) => byte !== 0)];
        };
        assertEquals(await ask(128), [OK, true]);
        assertEquals(await ask(129), [ERR, false]);
        assertEquals(await ask(4096), [ERR, false]);
        assertEquals(await ask(4097), [ERR, false]);
      },
    },
    {
      name: "a request that fails writes its status, and not the gigabytes before it",
      async run() {
        await using it = rig({}, { memorySize: 16 << 20 });
        const { address, bytes } = it.scratch(1 << 20);
        const head = it.scratch(72);
        bytes.fill(0x77);
        it.raw(DATA, [
          { address: head.address, length: 72 },
          ...Array.from({ length: 200 }, () => ({ address, length: 1 << 20, write: true })),
        ]);
        assertEquals([it.queue(DATA).usedIndex, bytes[0]], [1, 0x77]);
        assert(bytes.at(-1) !== OK && bytes.at(-1) !== 0x77, "the status is the last byte");
        assert(it.device.work.counters.bytes < 1024, `${it.device.work.counters.bytes}`);
        it.check();
      },
    },
    {
      name: "operations with RSA keys are few in a turn",
      async run() {
        await using it = rig();
        const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
        const der = new Uint8Array(publicKey.export({ type: "pkcs1", format: "der" }));
        const { status, id } = await create(it, AKCIPHER, [1, 1, der.length, 1, 7], der);
        assertEquals(status, OK);
        const one = concat(
          bytesOf([4, AKCIPHER << 8], [4, 1], [8, id], [4, 1], [4, 0]),
          bytesOf([4, 32], [4, 256]),
          new Uint8Array(32),
        );
        const { turns } = it.device.work.counters;
        const all = Array.from(
          { length: 16 },
          () => it.queue(DATA).add([{ read: one }, { write: 257 }]),
        );
        it.queue(DATA).kick();
        assert(it.queue(DATA).usedIndex <= 4, `${it.queue(DATA).usedIndex} in a turn`);
        const answers = await it.driver.until(Promise.all(all), 10_000);
        assertEquals(answers.map(({ bytes }) => bytes[0]!.at(-1)), new Array(16).fill(OK));
        assert(it.device.work.counters.turns - turns >= 4);
      },
    },
    {
      name: "a modulus of over 4096 bits is not computed with",
      async run() {
        await using it = rig();
        // RSAPublicKey of 8192 bits, all ones, and exponent 65537.
        const modulus = concat(
          Uint8Array.of(0x02, 0x82, 0x04, 0x01, 0),
          new Uint8Array(1024).fill(0xff),
        );
        const exponent = Uint8Array.of(0x02, 0x03, 1, 0, 1);
        const length = modulus.length + exponent.length;
        const der = concat(
          Uint8Array.of(0x30, 0x82, length >> 8, length & 0xff),
          modulus,
          exponent,
        );
        const { status } = await create(it, AKCIPHER, [1, 1, der.length, 1, 7], der);
        assert(status === NOTSUPP || status === ERR, `${status}`);
        assertEquals(it.model.sessions, 0);
      },
    },
    {
      name: "sessions survive a snapshot, and their keys work",
      async run() {
        await using it = rig();
        const key = Uint8Array.from({ length: 16 }, (_, i) => i);
        const { id } = await create(it, CIPHER, [AES_CBC, 16, 1], key);
        const encrypt = async (): Promise<Uint8Array> => {
          const body = new Uint8Array(48);
          body.set(bytesOf([4, 16], [4, 16], [4, 16]));
          body.set(bytesOf([4, 1]), 40);
          const { bytes } = await it.driver.request(DATA, [
            {
              read: concat(
                bytesOf([4, 0], [4, AES_CBC], [8, id], [4, 1], [4, 0]),
                body,
                new Uint8Array(32),
              ),
            },
            { write: 17 },
          ]);
          return bytes[0]!;
        };
        const before = await encrypt();
        assertEquals(before.at(-1), OK);
        await using next = it.moveTo(rig({}, it.memory));
        assertEquals(next.model.sessions, 1);
        assertEquals(await encrypt(), before);
      },
    },
  ],
};
