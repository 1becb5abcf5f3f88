import { assert, assertEquals, assertRejects } from "@std/assert";
import { CryptoDevice, type CryptoDeviceOptions, type DeviceQueue } from "@vireo/emu";
import {
  CryptoAead,
  CryptoCipher,
  CryptoFeature,
  CryptoHash,
  CryptoKeyType,
  type CryptoMac,
  CryptoRsaHash,
  CryptoRsaPadding,
  Feature,
  VireoError,
} from "@vireo/hal";
import { Buffer } from "node:buffer";
import { createSign, generateKeyPairSync, type KeyObject } from "node:crypto";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { type Crypto, cryptoDriver } from "../../drivers/crypto/mod.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const subtle = globalThis.crypto.subtle;
const random = (length: number): Uint8Array<ArrayBuffer> =>
  globalThis.crypto.getRandomValues(new Uint8Array(length));
const bytes = (buffer: ArrayBuffer): Uint8Array => new Uint8Array(buffer);

type Rig = MachineRig<"crypto", CryptoDevice, Crypto>;

function boot(
  options: CryptoDeviceOptions = {},
  without: readonly number[] = [],
): Promise<Rig> {
  return bootModel(new CryptoDevice(options), without);
}

function bootModel(model: CryptoDevice, without: readonly number[] = []): Promise<Rig> {
  return bootMachine("crypto", model, cryptoDriver, { without });
}

const REVISION_0 = { withhold: Object.values(CryptoFeature) };
/** How sessions are had: by revision, with sessions or without. */
const MODES = [
  { name: "sessions", device: {}, stateless: false },
  { name: "no sessions", device: {}, stateless: true },
  { name: "revision 0", device: REVISION_0, stateless: false },
];

for (const { name, device, stateless } of MODES) {
  for (const without of [[], [Feature.INDIRECT_DESC], [Feature.EVENT_IDX]]) {
    Deno.test(`crypto: every answer is WebCrypto's (${name}, without [${without}])`, async () => {
      await using rig = await boot({ ...device, queues: 3 }, without);
      const { crypto } = rig;
      for (const keySize of [16, 24, 32]) {
        const key = random(keySize);
        const iv = random(16);
        const data = random(1600);
        const options = { ...SOON, stateless };
        const algorithm = { name: "AES-CBC", iv };
        const webKey = await subtle.importKey("raw", key, "AES-CBC", false, ["encrypt"]);
        // WebCrypto pads: a block more than what came in.
        const expected = bytes(await subtle.encrypt(algorithm, webKey, data)).subarray(0, 1600);
        await using cipher = await crypto.cipher(CryptoCipher.AES_CBC, key, options);
        assertEquals(cipher.stateless, stateless);
        assertEquals(await cipher.encrypt(iv, data, SOON), expected);
        assertEquals(await cipher.decrypt(iv, expected, SOON), data);

        // The device has no GCM of 192 bits.
        if (keySize === 24) continue;
        const gcmKey = await subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
        const [nonce, aad] = [random(12), random(20)];
        const sealed = bytes(
          await subtle.encrypt({ name: "AES-GCM", iv: nonce, additionalData: aad }, gcmKey, data),
        );
        await using aead = await crypto.aead(CryptoAead.GCM, key, { ...options, aadSize: 20 });
        assertEquals(await aead.encrypt(nonce, data, aad, SOON), sealed);
        assertEquals(await aead.decrypt(nonce, sealed, aad, SOON), data);
        sealed[5]! ^= 1;
        const error = await assertRejects(
          () => aead.decrypt(nonce, sealed, aad),
          VireoError,
          "BADMSG",
        );
        assertEquals(error.code, "BAD_STATUS");
      }
      for (
        const [algo, web] of [[CryptoHash.SHA_256, "SHA-256"], [
          CryptoHash.SHA_512,
          "SHA-512",
        ]] as const
      ) {
        const data = random(3333);
        await using hash = await crypto.hash(algo, { stateless });
        assertEquals(await hash.digest(data, SOON), bytes(await subtle.digest(web, data)));
        const key = random(40);
        const algorithm = { name: "HMAC", hash: web };
        const webKey = await subtle.importKey("raw", key, algorithm, false, ["sign"]);
        await using mac = await crypto.mac(algo as CryptoMac, key, { stateless });
        assertEquals(await mac.digest(data, SOON), bytes(await subtle.sign("HMAC", webKey, data)));
      }
      assertEquals([rig.model.sessions, rig.machine.violations()], [0, []]);
    });

    Deno.test(`crypto: RSA agrees with node:crypto (${name}, without [${without}])`, async () => {
      await using rig = await boot(device, without);
      const pair = generateKeyPairSync("rsa", { modulusLength: 1024 });
      const der = (key: typeof pair.privateKey): Uint8Array<ArrayBuffer> =>
        new Uint8Array(key.export({ format: "der", type: "pkcs1" }) as Buffer);
      const priv = { type: CryptoKeyType.PRIVATE, der: der(pair.privateKey), size: 128 };
      const pub = { type: CryptoKeyType.PUBLIC, der: der(pair.publicKey), size: 128 };
      const padding = CryptoRsaPadding.PKCS1;
      await using encrypting = await rig.crypto.rsa(pub, { padding, stateless });
      await using decrypting = await rig.crypto.rsa(priv, { padding, stateless });
      for (const length of [30, 117, 1, 0]) {
        const secret = random(length);
        secret.fill(0, 0, 2);
        const sealed = await encrypting.encrypt(secret, SOON);
        assertEquals(await decrypting.decrypt(sealed, SOON), secret);
      }
      const options = { padding, hash: CryptoRsaHash.SHA256, stateless };
      await using signing = await rig.crypto.rsa(priv, options);
      await using verifying = await rig.crypto.rsa(pub, options);
      const data = random(200);
      const digest = bytes(await subtle.digest("SHA-256", data));
      const expected = new Uint8Array(createSign("sha256").update(data).sign(pair.privateKey));
      assertEquals(await signing.sign(digest, SOON), expected);
      await verifying.verify(expected, digest, SOON);
      digest[0]! ^= 1;
      await assertRejects(() => verifying.verify(expected, digest), VireoError, "KEY_REJECTED");
    });
  }
}

Deno.test("crypto: a part of a block is refused, before and after whole ones", async () => {
  await using rig = await boot();
  await using cipher = await rig.crypto.cipher(CryptoCipher.AES_CBC, random(16), SOON);
  const iv = random(16);
  for (const length of [1, 15, 17, 33]) {
    for (const run of [cipher.encrypt.bind(cipher), cipher.decrypt.bind(cipher)]) {
      const error = await assertRejects(() => run(iv, random(length), SOON), VireoError);
      assertEquals(error.code, "BAD_STATUS", `${length} bytes: ${error.message}`);
    }
  }
  assertEquals((await cipher.encrypt(iv, random(32), SOON)).length, 32);
});

Deno.test("crypto: many requests at once come back in another order, each with its own answer", async () => {
  await using rig = await boot({ queues: 4, reverse: true });
  await using hash = await rig.crypto.hash(CryptoHash.SHA_256);
  const all = Array.from({ length: 500 }, () => random(300));
  const answers = await Promise.all(all.map((data) => hash.digest(data, SOON)));
  for (const [i, data] of all.entries()) {
    assertEquals(answers[i], bytes(await subtle.digest("SHA-256", data)));
  }
});

Deno.test("crypto: what the device has not or refuses is a typed error", async () => {
  await using rig = await boot({ maxSize: 1000, maxSessions: 2 });
  const { crypto } = rig;
  const code = async (run: () => Promise<unknown>): Promise<string> =>
    (await assertRejects(run, VireoError)).code;
  assertEquals(await code(() => crypto.cipher(CryptoCipher.AES_XTS, random(32))), "UNSUPPORTED");
  assertEquals(await code(() => crypto.cipher(CryptoCipher.AES_CBC, random(33))), "UNSUPPORTED");
  await assertRejects(() => crypto.cipher(CryptoCipher.AES_CBC, random(5)), VireoError, "ERR");
  await assertRejects(() => crypto.aead(CryptoAead.GCM, random(24)), VireoError, "NOTSUPP");
  const key = { type: CryptoKeyType.PUBLIC, der: random(20), size: 128 };
  const padding = CryptoRsaPadding.PKCS1;
  await assertRejects(() => crypto.rsa(key, { padding }), VireoError, "saw ERR");
  {
    await using cipher = await crypto.cipher(CryptoCipher.AES_CBC, random(16));
    assertEquals(rig.model.sessions, 2);
    await assertRejects(() => crypto.hash(CryptoHash.SHA1), VireoError, "NOSPC");
    assertEquals(await code(() => cipher.encrypt(random(16), random(1000))), "OUT_OF_RANGE");
    await assertRejects(() => cipher.encrypt(random(16), random(15)), VireoError, "ERR");
    await assertRejects(() => cipher.encrypt(random(3), random(16)), VireoError, "ERR");
  }
  rig.model.setReady(false);
  for (let i = 0; i < 50 && crypto.offer.ready; i++) await turn();
  assertEquals(await code(() => crypto.hash(CryptoHash.SHA1)), "UNSUPPORTED");
  await using old = await boot(REVISION_0);
  assertEquals(
    await code(() => old.crypto.hash(CryptoHash.SHA1, { stateless: true })),
    "UNSUPPORTED",
  );
});

/** Data whose signature begins with a zero, and the signature. */
function zeroSignature(key: KeyObject): { data: Uint8Array<ArrayBuffer>; expected: Uint8Array } {
  for (let i = 0;; i++) {
    const data = new TextEncoder().encode(`message ${i}`);
    const expected = new Uint8Array(createSign("sha256").update(data).sign(key));
    if (expected[0] === 0) return { data, expected };
  }
}

Deno.test("crypto: a result that begins with a zero has it, and is BAD_LENGTH from a device that drops it", async () => {
  const pair = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const der = new Uint8Array(pair.privateKey.export({ format: "der", type: "pkcs1" }) as Buffer);
  const key = { type: CryptoKeyType.PRIVATE, der, size: 128 };
  const options = { padding: CryptoRsaPadding.PKCS1, hash: CryptoRsaHash.SHA256 };
  const { data, expected } = zeroSignature(pair.privateKey);
  const digest = bytes(await subtle.digest("SHA-256", data));
  await using rig = await boot();
  await using signing = await rig.crypto.rsa(key, options);
  assertEquals(await signing.sign(digest, SOON), expected);
  await using qemu = await boot({ dropZeroes: true });
  await using dropping = await qemu.crypto.rsa(key, options);
  const error = await assertRejects(() => dropping.sign(digest, SOON), VireoError);
  const kept = expected.length - expected.findIndex((byte) => byte !== 0);
  assertEquals([error.code, error.device, error.seen, error.expected], [
    "BAD_LENGTH",
    "virtio0",
    `${kept + 1} bytes`,
    "at least 129 bytes",
  ]);
});

/** Has the device claim another length for each request of a queue. */
function lie(model: CryptoDevice, index: number, used: (written: number) => number): void {
  const activate = model.activate.bind(model);
  model.activate = (context) =>
    activate({
      ...context,
      features: context.features,
      legacy: context.legacy,
      fault: (reason, rule) => context.fault(reason, rule),
      configChanged: () => context.configChanged(),
      queue: (at) => {
        const queue = context.queue(at);
        if (queue === undefined || at !== index) return queue;
        return {
          index: queue.index,
          size: queue.size,
          pop: () => queue.pop(),
          hasAvailable: () => queue.hasAvailable(),
          push: (chain, written) => queue.push(chain, used(written ?? chain.written)),
          pushAll: (chains, written) => queue.pushAll(chains, written),
          signal: () => queue.signal(),
          setNotify: (enabled) => queue.setNotify(enabled),
        };
      },
    });
}

Deno.test("crypto: a short answer is BAD_LENGTH, and never a result", async () => {
  const cases = [
    [0, (written: number) => written - 1, "32 bytes", "at least 33 bytes"],
    [0, () => 1, "1 byte", "at least 33 bytes"],
    [0, () => 0, "0 bytes", "at least 33 bytes"],
    [1, () => 15, "15 bytes", "at least 16 bytes"],
  ] as const;
  for (const [queue, used, seen, expected] of cases) {
    const model = new CryptoDevice();
    lie(model, queue, used);
    await using rig = await bootModel(model);
    const error = await assertRejects(async () => {
      const hash = await rig.crypto.hash(CryptoHash.SHA_256);
      await hash.digest(random(5), SOON);
    }, VireoError);
    assertEquals([error.code, error.seen, error.expected], ["BAD_LENGTH", seen, expected]);
  }
});

Deno.test("crypto: a status that the device never wrote is BAD_LENGTH, whatever length it claims", async () => {
  const model = new CryptoDevice();
  const notify = model.notify.bind(model);
  let queue: DeviceQueue | undefined;
  const activate = model.activate.bind(model);
  model.activate = (context) => {
    queue = context.queue(0);
    activate(context);
  };
  model.notify = (index) => {
    if (index !== 0) return notify(index);
    const chain = queue!.pop()!;
    chain.write(new Uint8Array(32));
    queue!.push(chain, 33);
    queue!.signal();
  };
  await using rig = await bootModel(model);
  await using hash = await rig.crypto.hash(CryptoHash.SHA_256);
  const error = await assertRejects(() => hash.digest(random(5), SOON), VireoError);
  assertEquals(error.code, "BAD_LENGTH");
});

Deno.test("crypto: a session is made within one deadline, and none that comes late is left on the device", async () => {
  const model = new CryptoDevice();
  const notify = model.notify.bind(model);
  const held: number[] = [];
  let answers = 1;
  model.notify = (index) => {
    if (index === 1 && answers-- <= 0) held.push(index);
    else notify(index);
  };
  await using rig = await bootModel(model);
  const start = performance.now();
  const late = await assertRejects(
    () => rig.crypto.cipher(CryptoCipher.AES_CBC, random(16), { deadline: 30 }),
    VireoError,
  );
  assertEquals(late.code, "TIMEOUT");
  assert(performance.now() - start < 5000, "the clean-up is not waited for");
  assertEquals(model.sessions, 1, "one was made, the other is held");
  answers = Infinity;
  for (const index of held) notify(index);
  for (let i = 0; i < 100 && model.sessions > 0; i++) await turn();
  assertEquals(model.sessions, 0);
});

Deno.test("crypto: closing destroys both sessions within one deadline, once", async () => {
  const model = new CryptoDevice();
  const notify = model.notify.bind(model);
  await using rig = await bootModel(model);
  const cipher = await rig.crypto.cipher(CryptoCipher.AES_CBC, random(16), SOON);
  assertEquals(model.sessions, 2);
  model.notify = () => {};
  const late = await assertRejects(() => cipher.close({ deadline: 20 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  model.notify = notify;
  await cipher.close(SOON);
  notify(1);
  assertEquals(model.sessions, 0);
  await assertRejects(() => cipher.encrypt(random(16), random(16)), TypeError, "closed");
});

Deno.test("crypto: keys do not stay in memory that devices reach", async () => {
  await using rig = await boot();
  const key = random(32);
  {
    await using cipher = await rig.crypto.cipher(CryptoCipher.AES_CBC, key);
    await cipher.encrypt(random(16), random(64), SOON);
    await using stateless = await rig.crypto.cipher(CryptoCipher.AES_CBC, key, { stateless: true });
    await stateless.encrypt(random(16), random(64), SOON);
  }
  assert(!Buffer.from(rig.machine.memory.bytes.buffer as ArrayBuffer).includes(Buffer.from(key)));
});

Deno.test("crypto: after a recovery sessions are gone, and new ones work", async () => {
  await using rig = await boot();
  const hash = await rig.crypto.hash(CryptoHash.SHA_256);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  await recovered;
  // The device gives the same id again: it is another session.
  await using again = await rig.crypto.hash(CryptoHash.SHA_512);
  await assertRejects(() => hash.digest(random(5), SOON), VireoError, "INVSESS");
  await hash.close(SOON);
  assertEquals(rig.model.sessions, 1);
  const data = random(5);
  assertEquals(await again.digest(data, SOON), bytes(await subtle.digest("SHA-512", data)));
});
