import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CRYPTO_CONFIG, CryptoFeature, CryptoService, CryptoStatus, VireoError } from "@vireo/hal";
import { code } from "../async_test_util.ts";
import { FakeDevice, type FakeRequest } from "../testing/fake_blk.ts";
import { Crypto } from "./driver.ts";

const S = CryptoStatus;
const F = CryptoFeature;
const GONE = new VireoError("DEVICE_STATE", "As the test wants");
const CIPHER = 3;
const SHA_256 = 4;
const GCM = 1;
const bytes = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value);

type Field = Exclude<keyof typeof CRYPTO_CONFIG, "SIZE">;

/** A device of AES-CBC, SHA-256, its HMAC, AES-GCM, RSA and ECDSA, with keys of 32 and 64 bytes. */
const CONFIG: Partial<Record<Field, number>> = {
  status: 1,
  max_dataqueues: 2,
  crypto_services: 0b1_1111,
  cipher_algo_l: 1 << CIPHER,
  hash_algo: 1 << SHA_256,
  mac_algo_l: 1 << SHA_256,
  aead_algo: 1 << GCM,
  akcipher_algo: 0b110,
  max_cipher_key_len: 32,
  max_auth_key_len: 64,
  max_size: 1000,
};

/** An answer: its status, bytes that the device says it wrote (all by default), or none yet. */
type Said = { readonly status?: number; readonly used?: number } | undefined;

function rig(
  { config = {}, features = [F.REVISION_1], says = () => ({}) }: {
    readonly config?: Partial<Record<Field, number>>;
    readonly features?: readonly number[];
    readonly says?: (control: boolean, words: readonly number[]) => Said;
  } = {},
) {
  const fake = new FakeDevice(...features);
  const set = (field: Field, value: number) =>
    fake.config.setUint32(CRYPTO_CONFIG[field].offset, value, true);
  for (const [field, value] of Object.entries({ ...CONFIG, ...config })) set(field as Field, value);
  /** The opcodes that the device had, with what follows the header. */
  const sent: [opcode: number, words: readonly number[]][] = [];
  const requests: FakeRequest[] = [];
  const heads: Uint8Array[] = [];
  let sessions = 100;
  const answer = (request: FakeRequest, { status = S.OK, used }: NonNullable<Said>) => {
    const opcode = new DataView(request.readable.buffer).getUint32(0, true);
    const answer = new Uint8Array(request.writableLength).fill(9);
    const creates = request.queue.index === 0 && (opcode & 0xff) % 2 === 0;
    if (creates) answer.set([sessions++, 0, 0, 0, 1, 0, 0, 0, status, 0, 0, 0, 0, 0, 0, 0]);
    else answer[answer.length - 1] = status;
    request.fill(answer);
    request.complete(undefined, used);
    request.queue.interrupt();
  };
  fake.script = (request) => {
    const head = request.readable;
    const words = [...new Uint32Array(head.buffer.slice(0, head.length & ~3))];
    const control = request.queue.index === 0;
    sent.push([words[0]!, words.slice(control ? 4 : 6)]);
    requests.push(request);
    heads.push(head);
    const said = says(control, words);
    if (said !== undefined) answer(request, said);
  };
  const device = Object.assign(fake.device, { queues: fake.queues, ready() {} });
  const crypto = new Crypto(device);
  return {
    fake,
    crypto,
    set,
    sent,
    requests,
    heads,
    answer,
    opcodes: () => sent.map(([code]) => code),
  };
}

const rsa = { type: 1, der: bytes(10), size: 32 } as const;
const ecdsa = { type: 1, curve: 3, bytes: bytes(10) } as const;
const cipher = { algo: CIPHER, key: bytes(16) };
const mac = { algo: SHA_256, key: bytes(8) } as const;
/** Each way to make something of a device, and the fields that it needs. */
const MADE: [name: string, fields: Field[], make: (crypto: Crypto) => Promise<AsyncDisposable>][] =
  [
    ["cipher", ["cipher_algo_l"], (crypto) => crypto.cipher(CIPHER, bytes(16))],
    ["hash", ["hash_algo"], (crypto) => crypto.hash(SHA_256)],
    ["MAC", ["mac_algo_l"], (crypto) => crypto.mac(SHA_256, bytes(16))],
    ["AEAD", ["aead_algo"], (crypto) => crypto.aead(GCM, bytes(16))],
    ["RSA", ["akcipher_algo"], (crypto) => crypto.rsa(rsa)],
    ["ECDSA", ["akcipher_algo"], (crypto) => crypto.ecdsa(ecdsa)],
    ["chain", ["cipher_algo_l", "mac_algo_l"], (crypto) => crypto.chain({ cipher, mac })],
    [
      "hash chain",
      ["cipher_algo_l", "hash_algo"],
      (crypto) => crypto.chain({ cipher, hash: SHA_256 }),
    ],
  ];

Deno.test("crypto: what the device does not have, or not now, is not asked for", async () => {
  const services = {
    cipher_algo_l: 0,
    hash_algo: 1,
    mac_algo_l: 2,
    aead_algo: 3,
    akcipher_algo: 4,
  };
  for (const [name, fields, make] of MADE) {
    for (const field of fields) {
      const service = services[field as "hash_algo"];
      for (
        const config of [
          { [field]: 0 },
          { crypto_services: 0b1_1111 & ~(1 << service) },
          { status: 0 },
        ]
      ) {
        const { crypto, sent } = rig({ config });
        assertEquals([await code(() => make(crypto)), sent], ["UNSUPPORTED", []], name);
      }
    }
    const { crypto, set, sent, opcodes } = rig();
    await (await make(crypto))[Symbol.asyncDispose]();
    // Each session that was made is destroyed.
    const made = opcodes().filter((code) => code % 2 === 0);
    assertEquals(opcodes().slice(made.length), made.map((code) => code + 1), name);
    set("status", 0);
    crypto.configChanged();
    sent.length = 0;
    assertEquals([await code(() => make(crypto)), sent], ["UNSUPPORTED", []], name);
    crypto.failed(GONE);
    await assertRejects(() => make(crypto), VireoError, "As the test wants");
  }
});

Deno.test("crypto: keys are as long as the device takes them", async () => {
  const cases: [(crypto: Crypto, length: number) => Promise<unknown>, number][] = [
    [(crypto, length) => crypto.cipher(CIPHER, bytes(length)), 32],
    [(crypto, length) => crypto.aead(GCM, bytes(length)), 32],
    [(crypto, length) => crypto.mac(SHA_256, bytes(length)), 64],
    [(crypto, length) => crypto.chain({ cipher: { ...cipher, key: bytes(length) }, mac }), 32],
    [(crypto, length) => crypto.chain({ cipher, mac: { ...mac, key: bytes(length) } }), 64],
  ];
  for (const [make, most] of cases) {
    const { crypto, sent } = rig();
    await make(crypto, most);
    sent.length = 0;
    assertEquals([await code(() => make(crypto, most + 1)), sent], ["UNSUPPORTED", []]);
  }
});

Deno.test("crypto: a chain has a hash or a MAC, a digest of its size, and an order of each direction", async () => {
  const { crypto, sent } = rig();
  for (const wrong of [{}, { mac, hash: SHA_256 }] as const) {
    await assertRejects(() => crypto.chain({ cipher, ...wrong }), RangeError, "a hash or a MAC");
  }
  for (const digestSize of [0, 33, 1.5, -1]) {
    const make = () => crypto.chain({ cipher, mac, digestSize });
    await assertRejects(make, RangeError, `${digestSize} bytes: expected 1 to 32`);
  }
  assertEquals(sent, []);
  for (const digestSize of [1, 32]) {
    assertEquals((await crypto.chain({ cipher, mac, digestSize })).digestSize, digestSize);
  }
  // HASH_THEN_CIPHER is 1, CIPHER_THEN_HASH 2; decrypting has the other order.
  for (
    const [options, orders, mode] of [
      [{ mac }, [2, 1], 2],
      [{ mac, first: "cipher" }, [2, 1], 2],
      [{ hash: SHA_256, first: "hash" }, [1, 2], 1],
    ] as const
  ) {
    sent.length = 0;
    await crypto.chain({ cipher, ...options });
    assertEquals(sent.map(([, [order, mode]]) => [order, mode]), orders.map((o) => [o, mode]));
  }
});

Deno.test("crypto: a request has the device's bytes at most, its results and its status included", async () => {
  for (
    const [low, high, most] of [
      [50, 0, 50],
      [49, 0, 49],
      [0, 1, 2 ** 32],
      [0xffff_ffff, 0xffff_ffff, Number.MAX_SAFE_INTEGER],
    ] as const
  ) {
    const { fake, crypto } = rig();
    fake.config.setUint32(CRYPTO_CONFIG.max_size.offset, low, true);
    fake.config.setUint32(CRYPTO_CONFIG.max_size.offset + 4, high, true);
    crypto.configChanged();
    assertEquals(crypto.offer.maxSize, most);
    // 16 + 16 + 16 and a status; 13 + 9 + 2 + 9, a digest of 16 and a status.
    const one = await crypto.cipher(CIPHER, bytes(16));
    await one.encrypt(bytes(16), bytes(16));
    const chain = await crypto.chain({ cipher, mac, digestSize: 16, aadSize: 2 });
    const chained = () => chain.encrypt(bytes(13), bytes(9), { aad: bytes(2) });
    if (most >= 50) await chained();
    else assertEquals(await code(chained), "OUT_OF_RANGE");
  }
});

Deno.test("crypto: an answer has a status that was written, and the bytes that it must have", async () => {
  const cipher = (crypto: Crypto) =>
    crypto.cipher(CIPHER, bytes(16)).then((one) => one.encrypt(bytes(16), bytes(32)));
  const padded = (padding: 0 | 1) => (crypto: Crypto) =>
    crypto.rsa(rsa, { padding }).then((one) => one.decrypt(bytes(32)));
  const sign = (crypto: Crypto) => crypto.ecdsa(ecdsa).then((one) => one.sign(bytes(32)));
  const verify = (crypto: Crypto) =>
    crypto.ecdsa(ecdsa).then((one) => one.verify(bytes(9), bytes(32)));
  const cases: [(crypto: Crypto) => Promise<unknown>, Said, number | string, string?][] = [
    [cipher, {}, 32],
    [cipher, { used: 32 }, "BAD_LENGTH", "at least 33 bytes"],
    [cipher, { used: 0 }, "BAD_LENGTH", "at least 33 bytes"],
    [cipher, { status: 0xff }, "BAD_LENGTH", "at least 33 bytes"],
    [cipher, { status: S.ERR }, "BAD_STATUS"],
    [cipher, { status: S.ERR, used: 1 }, "BAD_STATUS"],
    [padded(0), {}, 32],
    [padded(0), { used: 32 }, "BAD_LENGTH"],
    [padded(1), { used: 32 }, 31],
    [padded(1), { used: 1 }, 0],
    [padded(1), { used: 0 }, "BAD_LENGTH"],
    // Two numbers of a byte at least, and of 33 bytes at most with their headers.
    [sign, {}, 2 * 33 + 9],
    [sign, { used: 9 }, 8],
    [sign, { used: 8 }, "BAD_LENGTH", "at least 9 bytes"],
    [verify, { used: 1 }, 0],
    [verify, { status: S.KEY_REJECTED }, "BAD_STATUS"],
  ];
  for (const [run, said, expected, wanted] of cases) {
    const { crypto, fake } = rig({ says: (control) => control ? {} : said });
    const what = JSON.stringify(said);
    if (typeof expected === "string") {
      const error = await assertRejects(() => run(crypto), VireoError);
      assertEquals([error.code, wanted ?? error.expected], [expected, error.expected], what);
    } else {
      const result = await run(crypto);
      assertEquals(result instanceof Uint8Array ? result.length : 0, expected, what);
    }
    assertEquals(fake.regions.size, 0);
  }
});

Deno.test("crypto: sessions are made all or none, and their keys are forgotten", async () => {
  for (
    const [said, expected] of [[{ status: S.NOSPC }, "BAD_STATUS"], [
      { used: 15 },
      "BAD_LENGTH",
    ]] as const
  ) {
    let count = 0;
    const { crypto, opcodes } = rig({ says: () => ++count === 2 ? said : {} });
    assertEquals(await code(() => crypto.cipher(CIPHER, bytes(16))), expected);
    // The first one goes.
    assertEquals(opcodes(), [2, 2, 3]);
  }
});

Deno.test("crypto: a session has the id that the device gave it, and a refusal names its status", async () => {
  const { crypto, heads } = rig();
  const id = (at: number): number[] => {
    const head = new DataView(heads.at(-1)!.buffer);
    return [head.getUint32(at, true), head.getUint32(at + 4, true)];
  };
  const session = await crypto.hash(SHA_256);
  await session.digest(bytes(4));
  // The low word and the high one, in a request of data and in one that destroys.
  assertEquals(id(8), [100, 1]);
  await session[Symbol.asyncDispose]();
  assertEquals(id(16), [100, 1]);
  const full = rig({ says: () => ({ status: S.NOSPC }) });
  const error = await assertRejects(() => full.crypto.hash(SHA_256), VireoError);
  assertEquals([error.code, error.seen], ["BAD_STATUS", "NOSPC"]);
});

Deno.test("crypto: a session whose caller gave up is destroyed when the device has made it", async () => {
  for (const [said, after] of [[{}, 1], [{ status: S.ERR }, 0], [{ used: 8 }, 0]] as const) {
    const { crypto, requests, answer, opcodes } = rig({ says: () => undefined });
    const stop = new AbortController();
    const making = crypto.hash(SHA_256, { signal: stop.signal });
    const given = assertRejects(() => making, Error, "enough");
    await Promise.resolve();
    stop.abort(new Error("enough"));
    await given;
    answer(requests[0]!, said);
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(opcodes().slice(1), after === 1 ? [0x103] : []);
    crypto.failed(GONE);
  }
});

Deno.test("crypto: as many data queues are used as there are, 64 at most, one after the other", async () => {
  for (const queues of [0, 65_536, 2 ** 31]) {
    const error = assertThrows(() => rig({ config: { max_dataqueues: queues } }), VireoError);
    assertEquals([error.code, error.expected], ["CONFIG_INVALID", "1 to 65535"]);
  }
  for (const [queues, used] of [[1, 1], [3, 3], [64, 64], [65, 64], [65_535, 64]] as const) {
    const { crypto, fake, requests } = rig({ config: { max_dataqueues: queues } });
    const names = fake.queues.map(({ request: { name, index } }) => [name, index]);
    assertEquals(names, [
      ["controlq", queues],
      ...Array.from({ length: used }, (_, i) => [`dataq.${i}`, i]),
    ]);
    const hash = await crypto.hash(SHA_256);
    requests.length = 0;
    for (let i = 0; i <= used; i++) await hash.digest(bytes(1));
    const seen = requests.map(({ queue }) => queue.index - 1);
    assertEquals(seen, [...Array.from({ length: used }, (_, i) => i), 0]);
  }
});

Deno.test("crypto: without sessions the key goes with each request, where that was agreed on", async () => {
  const services = [F.CIPHER_STATELESS_MODE, F.HASH_STATELESS_MODE];
  for (const [i, feature] of services.entries()) {
    for (const agreed of [true, false]) {
      const { crypto, opcodes, heads } = rig({
        features: [F.REVISION_1, ...agreed ? [feature] : []],
      });
      const options = { stateless: true };
      const make = async () =>
        i === 0
          ? (await crypto.cipher(CIPHER, bytes(16), options)).encrypt(bytes(16, 1), bytes(16, 2))
          : (await crypto.hash(SHA_256, options)).digest(bytes(16, 2));
      if (!agreed) {
        assertEquals([await code(make), opcodes()], ["UNSUPPORTED", []]);
        continue;
      }
      await make();
      assertEquals(opcodes(), [i << 8]);
      const sent = heads[0]!;
      // The header of 24 bytes, the fixed part, the key, the initialization vector and the text.
      assertEquals(sent.length, i === 0 ? 24 + 76 + 48 : 24 + 16 + 16);
      if (i === 0) assertEquals([sent[100], sent[116], sent[132]], [7, 1, 2]);
    }
  }
});

Deno.test("crypto: a device that is not ready any more is asked for nothing, and may refuse to forget", async () => {
  const unready = (r: ReturnType<typeof rig>) => {
    r.set("status", 0);
    r.crypto.configChanged();
    r.sent.length = 0;
  };
  const r = rig({
    features: [F.REVISION_1, F.HASH_STATELESS_MODE],
    says: () => ({ status: r.sent.length > 1 ? S.ERR : S.OK }),
  });
  const hash = await r.crypto.hash(SHA_256);
  assertEquals(await code(() => hash.close()), "BAD_STATUS");
  const made = rig({ features: [F.REVISION_1, F.HASH_STATELESS_MODE] });
  const [one, keyless] = [
    await made.crypto.hash(SHA_256),
    await made.crypto.hash(SHA_256, { stateless: true }),
  ];
  unready(made);
  for (
    const run of [
      () => one.digest(bytes(1)),
      () => keyless.digest(bytes(1)),
      () => one.close(),
      () => made.crypto.hash(SHA_256, { stateless: true }),
    ]
  ) assertEquals([await code(run), made.sent], ["UNSUPPORTED", []]);
  // Between two sessions of a cipher.
  const pair = rig({ says: () => (unready(pair), {}) });
  assertEquals([await code(() => pair.crypto.cipher(CIPHER, bytes(16))), pair.sent], [
    "UNSUPPORTED",
    [],
  ]);
});

Deno.test("crypto: sessions end with a reset, and nothing is asked of the device for them", async () => {
  const { crypto, sent } = rig();
  const hash = await crypto.hash(SHA_256);
  crypto.failed(GONE);
  await assertRejects(() => hash.digest(bytes(1)), VireoError, "As the test wants");
  await crypto.restore();
  sent.length = 0;
  const ended = await assertRejects(() => hash.digest(bytes(1)), VireoError);
  assertEquals([ended.code, ended.seen], ["BAD_STATUS", "INVSESS"]);
  await hash.close();
  assertEquals(sent, []);
  const again = await crypto.hash(SHA_256);
  await again.digest(bytes(1));
  await again.close();
  assertEquals(sent.map(([opcode]) => opcode), [
    0x102,
    CryptoService.HASH << 8,
    0x103,
  ]);
});

Deno.test("crypto: the lengths of an AEAD stand in the order of its mode, with the tag behind the text", async () => {
  for (const stateless of [false, true]) {
    const { crypto, sent, requests } = rig({
      features: [F.REVISION_1, ...stateless ? [F.AEAD_STATELESS_MODE] : []],
    });
    const aead = await crypto.aead(GCM, bytes(16), { stateless });
    assertEquals(aead.tagSize, 16);
    await aead.encrypt(bytes(12), bytes(5), bytes(3));
    const lengths = () => sent.at(-1)![1].slice(...stateless ? [3, 8] : [0, 5]);
    // IV, tag, additional data, source and result; or the tag last.
    assertEquals(lengths(), stateless ? [12, 16, 3, 5, 21] : [12, 3, 5, 21, 16]);
    // The result has a status behind it.
    const written = requests.at(-1)!.elements.filter(({ writable }) => writable);
    assertEquals(written.reduce((sum, { length }) => sum + length, 0), 21 + 1);
    await aead.decrypt(bytes(12), bytes(21), bytes(3));
    assertEquals(lengths(), stateless ? [12, 16, 3, 21, 5] : [12, 3, 21, 5, 16]);
    // What is shorter than a tag has no text.
    await aead.decrypt(bytes(12), bytes(7));
    assertEquals(lengths(), stateless ? [12, 16, 0, 7, 0] : [12, 0, 7, 0, 16]);
    crypto.failed(GONE);
  }
});

Deno.test("crypto: a part of a chain's text may be empty, and lies in the text", async () => {
  const { crypto, sent } = rig();
  const chain = await crypto.chain({ cipher, mac });
  const none = { start: 8, length: 0 };
  await chain.encrypt(bytes(16), bytes(8), { hashed: none });
  assertEquals(sent.at(-1)![1].slice(3, 7), [0, 8, 8, 0]);
  for (
    const hashed of [
      { start: 8, length: 1 },
      { start: -1, length: 1 },
      { start: 0, length: -1 },
      { start: 0.5, length: 1 },
      { start: 0, length: 0.5 },
    ]
  ) {
    await assertRejects(
      () => chain.encrypt(bytes(16), bytes(8), { hashed }),
      RangeError,
      "8 bytes",
    );
  }
  crypto.failed(GONE);
});
