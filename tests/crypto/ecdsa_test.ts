// ECDSA by driver and device: beside the vectors of RFC 6979 §A.2, and node:crypto.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CryptoDevice } from "@vireo/emu";
import { CryptoCurve, CryptoKeyType, type VireoError } from "@vireo/hal";
import type { Buffer } from "node:buffer";
import {
  createHash,
  createSign,
  createVerify,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { type Crypto, cryptoDriver } from "../../drivers/crypto/mod.ts";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";

const SOON = { deadline: 20_000 };
const { PUBLIC, PRIVATE } = CryptoKeyType;

/** Keys of RFC 6979 §A.2.3 to §A.2.7 and what they sign: "sample", by SHA-256. */
const VECTORS = [
  {
    name: "P192",
    curve: 1,
    der:
      "305f02010104186fab034934e4c0fc9ae67f5b5659a9d7d1fefd187ee09fd4a00a06082a8648ce3d030101a13403320004ac2c77f529f91689fea0ea5efec7f210d8eea0b9e047ed563bc723e57670bd4887ebc732c523063d0a7c957bc97c1c43",
    point:
      "04ac2c77f529f91689fea0ea5efec7f210d8eea0b9e047ed563bc723e57670bd4887ebc732c523063d0a7c957bc97c1c43",
    r: 0x4b0b8ce98a92866a2820e20aa6b75b56382e0f9bfd5ecb55n,
    s: 0xccdb006926ea9565cbadc840829d8c384e06de1f1e381b85n,
  },
  {
    name: "P224",
    curve: 2,
    der:
      "3068020101041cf220266e1105bfe3083e03ec7a3a654651f45e37167e88600bf257c1a00706052b81040021a13c033a000400cf08da5ad719e42707fa431292dea11244d64fc51610d94b130d6ceeab6f3debe455e3dbf85416f7030cbd94f34f2d6f232c69f3c1385a",
    point:
      "0400cf08da5ad719e42707fa431292dea11244d64fc51610d94b130d6ceeab6f3debe455e3dbf85416f7030cbd94f34f2d6f232c69f3c1385a",
    r: 0x61aa3da010e8e8406c656bc477a7a7189895e7e840cdfe8ff42307ban,
    s: 0xbc814050dab5d23770879494f9e0a680dc1af7161991bde692b10101n,
  },
  {
    name: "P256",
    curve: 3,
    der:
      "30770201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721a00a06082a8648ce3d030107a1440342000460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    point:
      "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    r: 0xefd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716n,
    s: 0xf7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8n,
  },
  {
    name: "P384",
    curve: 4,
    der:
      "3081a402010104306b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5a00706052b81040022a16403620004ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc138015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
    point:
      "04ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc138015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
    r: 0x21b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e354b63a21d3daa33bde1e888e63355d92fa2b3c36d8fb2cdn,
    s: 0xf3aa443fb107745bf4bd77cb3891674632068a10ca67e3d45db2266fa7d1feebefdc63eccd1ac42ec0cb8668a4fa0ab0n,
  },
  {
    name: "P521",
    curve: 5,
    der:
      "3081dc020101044200fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538a00706052b81040023a18189038186000401894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd371123d46e45db6b5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f5023a400493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28a0db25741b5b34a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfdfcf5",
    point:
      "0401894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd371123d46e45db6b5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f5023a400493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28a0db25741b5b34a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfdfcf5",
    r: 0x1511bb4d675114fe266fc4372b87682baecc01d3cc62cf2303c92b3526012659d16876e25c7c1e57648f23b73564d67f61c6f14d527d54972810421e7d87589e1a7n,
    s: 0x4a171143a83163d6df460aaf61522695f207a58b95c0644d87e52aa1a347916e4f7a72930b1bc06dbe22ce3f58264afd23704cbb63b29b931f7de6c9d949a7ecfcn,
  },
] as const;

const boot = (): Promise<MachineRig<"crypto", CryptoDevice, Crypto>> =>
  bootMachine("crypto", new CryptoDevice(), cryptoDriver);
const sha256 = (data: string): Uint8Array => createHash("sha256").update(data).digest();
const status = async (run: () => Promise<unknown>): Promise<unknown> => {
  const error = await assertRejects(run) as VireoError;
  assertEquals(error.code, "BAD_STATUS");
  return error.seen;
};

/** An INTEGER of DER. */
function integer(value: bigint): number[] {
  const digits = value.toString(16);
  const bytes = [...Uint8Array.fromHex(digits.padStart(digits.length + digits.length % 2, "0"))];
  if (bytes[0]! > 0x7f) bytes.unshift(0);
  return [2, bytes.length, ...bytes];
}

/** `Ecdsa-Sig-Value` in DER. */
function signatureOf(r: bigint, s: bigint): Uint8Array {
  const body = [...integer(r), ...integer(s)];
  return Uint8Array.from([0x30, ...body.length > 127 ? [0x81] : [], body.length, ...body]);
}

for (const { name, curve, der, point, r, s } of VECTORS) {
  for (const stateless of [false, true]) {
    Deno.test(`ecdsa ${name}: signs as RFC 6979 has it, and verifies that (${stateless ? "no sessions" : "sessions"})`, async () => {
      await using rig = await boot();
      const key = { type: PRIVATE, curve, bytes: Uint8Array.fromHex(der) };
      const open = { type: PUBLIC, curve, bytes: Uint8Array.fromHex(point) };
      await using signing = await rig.crypto.ecdsa(key, { ...SOON, stateless });
      await using verifying = await rig.crypto.ecdsa(open, { ...SOON, stateless });
      const digest = sha256("sample");
      const signature = await signing.sign(digest, SOON);
      assertEquals(signature, signatureOf(r, s));
      await verifying.verify(signature, digest, SOON);
      assertEquals(
        await status(() => verifying.verify(signature, sha256("other"))),
        "KEY_REJECTED",
      );
      const wrong = signatureOf(r, s + 1n);
      assertEquals(await status(() => verifying.verify(wrong, digest)), "KEY_REJECTED");
      assertEquals(rig.machine.violations(), []);
    });
  }
}

/** Curves and hashes that node:crypto has here. */
const NODE = [["P-224", CryptoCurve.NIST_P224, "sha256"], [
  "P-256",
  CryptoCurve.NIST_P256,
  "sha256",
], [
  "P-384",
  CryptoCurve.NIST_P384,
  "sha384",
], ["P-521", CryptoCurve.NIST_P521, "sha512"]] as const;

for (const [namedCurve, curve, hash] of NODE) {
  Deno.test(`ecdsa ${namedCurve}: agrees with node:crypto on random keys`, async () => {
    await using rig = await boot();
    for (let i = 0; i < 3; i++) {
      const pair = generateKeyPairSync("ec", { namedCurve });
      const data = crypto.getRandomValues(new Uint8Array(100));
      const digest = createHash(hash).update(data).digest();
      const der = exportBytes(pair.privateKey, "sec1");
      const spki = exportBytes(pair.publicKey, "spki");
      // The point is at the end of a SubjectPublicKeyInfo.
      const size = { "P-224": 57, "P-256": 65, "P-384": 97, "P-521": 133 }[namedCurve];
      const bytes = spki.slice(-size);
      await using signing = await rig.crypto.ecdsa({ type: PRIVATE, curve, bytes: der });
      await using verifying = await rig.crypto.ecdsa({ type: PUBLIC, curve, bytes });
      const signature = await signing.sign(digest, SOON);
      assert(createVerify(hash).update(data).verify(pair.publicKey, signature));
      const theirs = new Uint8Array(createSign(hash).update(data).sign(pair.privateKey));
      await verifying.verify(theirs, digest, SOON);
      data[0]! ^= 1;
      const other = createHash(hash).update(data).digest();
      assertEquals(await status(() => verifying.verify(theirs, other)), "KEY_REJECTED");
    }
  });
}

function exportBytes(key: KeyObject, type: "sec1" | "spki"): Uint8Array {
  return new Uint8Array(key.export({ format: "der", type: type as "spki" }) as Buffer);
}

Deno.test("ecdsa: keys that are none of the curve are refused", async () => {
  await using rig = await boot();
  const [, , p256] = VECTORS;
  const create = (type: CryptoKeyType, curve: number, bytes: Uint8Array): Promise<unknown> =>
    status(() => rig.crypto.ecdsa({ type, curve: curve as CryptoCurve, bytes }, SOON));
  const [der, point] = [Uint8Array.fromHex(p256.der), Uint8Array.fromHex(p256.point)];
  for (const curve of [0, 6, 0x80000000]) {
    assertEquals(await create(PRIVATE, curve, der), "NOTSUPP");
  }
  // Another curve than the key names, cut off, a number of 0, and bytes behind the key.
  const zero = der.slice().fill(0, 7, 39);
  const more = new Uint8Array([...der, 0]);
  for (
    const [curve, bytes] of [[4, der], [3, der.subarray(0, 60)], [3, zero], [3, more]] as const
  ) {
    assertEquals(await create(PRIVATE, curve, bytes), "ERR");
  }
  const off = point.slice();
  off[64]! ^= 1;
  const compressed = new Uint8Array([2, ...point.subarray(1, 33)]);
  for (const bytes of [off, compressed, point.subarray(1), new Uint8Array(65)]) {
    assertEquals(await create(PUBLIC, 3, bytes), "ERR");
  }
  assertEquals(rig.model.sessions, 0);
});

Deno.test("ecdsa: only private keys sign, and signatures of another form are rejected", async () => {
  await using rig = await boot();
  const [, , { r, s, point }] = VECTORS;
  const open = { type: PUBLIC, curve: CryptoCurve.NIST_P256, bytes: Uint8Array.fromHex(point) };
  await using key = await rig.crypto.ecdsa(open, SOON);
  const digest = sha256("sample");
  assertEquals(await status(() => key.sign(digest, SOON)), "ERR");
  const good = signatureOf(r, s);
  await key.verify(good, digest, SOON);
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const negative = good.slice();
  // The sign byte of r is cut off, so that r is negative.
  negative.set([0x30, good[1]! - 1, 2, 32]);
  const bad = [
    new Uint8Array(0),
    good.subarray(0, -1),
    new Uint8Array([...good, 0]),
    signatureOf(0n, s),
    signatureOf(r, 0n),
    signatureOf(r + n, s),
    signatureOf(r, n),
    new Uint8Array([...negative.subarray(0, 4), ...good.subarray(5)]),
  ];
  for (const signature of bad) {
    assertEquals(await status(() => key.verify(signature, digest, SOON)), "KEY_REJECTED");
  }
});
