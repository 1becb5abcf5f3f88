// Keys and signatures at their bounds; numbers are typed again from NIST SP 800-186 and RFC 6979 §A.2.
import { assertEquals } from "@std/assert";
import { type EcKey, hasCurve, readPrivateKey, readPublicKey, sign, verify } from "./_ecdsa.ts";

const [P192, P256, P521] = [1, 3, 5];
const P = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const OID = "06082a8648ce3d030107";

const hex = (value: bigint, bytes = 32): string => value.toString(16).padStart(2 * bytes, "0");
const bytes = (text: string): Uint8Array => Uint8Array.fromHex(text);

/** An element of DER, with a length in its shortest form. */
function tlv(tag: string, body: string): string {
  const length = body.length / 2;
  return tag + (length > 127 ? "81" : "") + length.toString(16).padStart(2, "0") + body;
}

/** An INTEGER of DER. */
function integer(value: bigint): string {
  const digits = value.toString(16);
  const even = digits.padStart(digits.length + digits.length % 2, "0");
  return tlv("02", Number.parseInt(even[0]!, 16) > 7 ? `00${even}` : even);
}

const signatureOf = (r: bigint, s: bigint): Uint8Array => bytes(tlv("30", integer(r) + integer(s)));
/** An `ECPrivateKey`. */
const der = (d: bigint, oid = OID): Uint8Array =>
  bytes(tlv("30", tlv("02", "01") + tlv("04", hex(d)) + tlv("a0", oid)));
const pointOf = (x: bigint, y: bigint, size = 32): Uint8Array =>
  bytes(`04${hex(x, size)}${hex(y, size)}`);

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base % P];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = result * square % P;
    square = square * square % P;
  }
  return result;
}

/** The y of a point of P-256 with this x; undefined if there is none. */
function yOf(x: bigint): bigint | undefined {
  const square = ((x * x * x - 3n * x + B) % P + P) % P;
  const y = power(square, (P + 1n) / 4n);
  return y * y % P === square ? y : undefined;
}

/** A key of P-256 whose point has this x, or the next one below or above that there is. */
function keyAt(x: bigint, step: bigint): [bigint, EcKey] {
  for (let at = x;; at += step) {
    const y = yOf(at);
    if (y !== undefined) return [at, readPublicKey(P256, pointOf(at, y))!];
  }
}

Deno.test("ecdsa: curves have numbers from 1 to 5", () => {
  assertEquals([0, 1, 5, 6].map(hasCurve), [false, true, true, false]);
});

Deno.test("ecdsa: a private key is a number from 1 to the order less one, of the curve that it names", () => {
  const whole = tlv("02", "01") + tlv("04", hex(7n));
  const rows: readonly (readonly [string | Uint8Array, boolean])[] = [
    [der(7n), true],
    [der(1n), true],
    [der(N - 1n), true],
    [der(0n), false],
    [der(N), false],
    [der(7n, "06052b81040022"), false],
    [tlv("30", whole), true],
    [tlv("31", whole), false],
    [`${tlv("30", whole)}00`, false],
    [tlv("30", tlv("02", "02") + tlv("04", hex(7n))), false],
    [tlv("30", tlv("02", "0101") + tlv("04", hex(7n))), false],
    [tlv("30", tlv("02", "") + tlv("04", hex(7n))), false],
    [tlv("30", tlv("02", "01")), false],
    [tlv("30", tlv("03", "01") + tlv("04", hex(7n))), false],
    [tlv("30", tlv("02", "01") + tlv("05", hex(7n))), false],
    // With its public point, which needs a length of two bytes.
    [tlv("30", whole + tlv("a0", OID) + tlv("a1", "03".repeat(127))), true],
    [tlv("30", whole + tlv("a0", OID) + tlv("a1", "03".repeat(76))), true],
    [tlv("30", whole + tlv("a0", OID) + tlv("a1", "03")).slice(0, -2), false],
    [tlv("30", `${whole}a000`), false],
    [`308200${tlv("30", whole).slice(2)}`, false],
    ["30", false],
    ["", false],
  ];
  for (const [key, good] of rows) {
    const found = readPrivateKey(P256, typeof key === "string" ? bytes(key) : key);
    assertEquals(found !== undefined, good, `${key}`);
  }
  // The number whose point is the base point's mirror image has its x.
  const [first, last] = [readPrivateKey(P256, der(1n))!, readPrivateKey(P256, der(N - 1n))!];
  assertEquals(verify(last, sign({ ...last, d: N - 1n }, bytes("01")), bytes("01")), true);
  assertEquals(verify(first, sign({ ...last, d: N - 1n }, bytes("01")), bytes("01")), false);
});

Deno.test("ecdsa: a public key is a point of the curve whose numbers are below its prime", () => {
  const y = yOf(0n)!;
  assertEquals(readPublicKey(P256, pointOf(0n, y))?.q, [0n, y, 1n]);
  assertEquals(readPublicKey(P256, pointOf(P, y)), undefined);
  assertEquals(readPublicKey(P256, pointOf(0n, y - 1n)), undefined);
  assertEquals(readPublicKey(P256, pointOf(0n, y).with(0, 3)), undefined);
  assertEquals(readPublicKey(P256, bytes(`04${hex(0n)}${hex(y)}00`)), undefined);
  // Of the largest curve, numbers above the prime have as many bytes.
  const prime = 2n ** 521n - 1n;
  const gx =
    0xc6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66n;
  const gy =
    0x11839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650n;
  const known = [[0n, 0n], [prime, 0n], [0n, prime]] as const;
  assertEquals(
    known.map(([x, y]) => readPublicKey(P521, pointOf(gx + x, gy + y, 66)) !== undefined),
    [true, false, false],
  );
});

Deno.test("ecdsa: both numbers of a signature are from 1 to the order less one", () => {
  const none = new Uint8Array(32);
  // For a digest of 0, the x of a key's point is both numbers of a signature.
  for (const [x, step] of [[1n, 1n], [N - 1n, -1n], [P - 1n, -1n]] as const) {
    const [r, key] = keyAt(x, step);
    assertEquals(verify(key, signatureOf(r % N, r % N), none), true);
    assertEquals(verify(key, signatureOf(r % N + N, r % N), none), false);
    assertEquals(verify(key, signatureOf(r % N, r % N + N), none), false);
    assertEquals(verify(key, signatureOf(r % N, r % N + 1n), none), false);
    assertEquals(verify(key, signatureOf(r % N, r % N), none.with(31, 1)), false);
  }
  const [, zero] = keyAt(0n, 1n);
  assertEquals(verify(zero, signatureOf(0n, 1n), none), false);
  // A digest for which s is 1: neither 0 nor the order will do instead, which have no inverse. With less one, s is -1.
  const [r, key] = keyAt(1n, 1n);
  for (const s of [0n, N]) assertEquals(verify(key, signatureOf(r, s), none), false);
  const [first, d] = [readPrivateKey(P256, der(1n))!, 1n];
  const x = first.q[0] % N;
  const digest = (s: bigint): Uint8Array => bytes(hex(((s * d - x * d) % N + N) % N));
  assertEquals([1n, N - 1n, 2n].map((s) => verify(first, signatureOf(x, s), digest(s))), [
    ...[true, true, true],
  ]);
  for (const s of [0n, N, N + 1n]) {
    assertEquals(verify(first, signatureOf(x, s), digest(1n)), false);
  }
});

Deno.test("ecdsa: a signature's numbers may both be 1, which the largest curve has a point for", () => {
  const y =
    0x10e59be93c4f269c0269c79e2afd65d6aeaa9b701eacc194fb3ee03df47849bf550ec636ebee0ddd4a16f1cd9406605af38f584567770e3f272d688c832e843564n;
  const key = readPublicKey(P521, pointOf(1n, y, 66))!;
  const none = new Uint8Array(66);
  assertEquals(verify(key, signatureOf(1n, 1n), none), true);
  for (const [r, s] of [[0n, 1n], [1n, 0n], [2n, 1n], [1n, 2n]] as const) {
    assertEquals(verify(key, signatureOf(r, s), none), false);
  }
});

Deno.test("ecdsa: a signature has one form", () => {
  const [r, key] = keyAt(2n ** 255n, 1n);
  const none = new Uint8Array(32);
  const one = integer(r);
  const rows: readonly (readonly [string, boolean])[] = [
    [tlv("30", one + one), true],
    [`${tlv("30", one + one)}00`, false],
    [tlv("30", `${one}${one}00`), false],
    [tlv("30", one), false],
    [tlv("30", one + tlv("02", "")), false],
    [tlv("30", tlv("02", "00") + one), false],
    [tlv("31", one + one), false],
    [tlv("30", tlv("02", hex(r)) + one), false],
    [tlv("30", one + tlv("02", `00${one.slice(4)}`)), false],
    [tlv("30", one + one).slice(0, -2), false],
    ["", false],
  ];
  for (const [signature, good] of rows) {
    assertEquals(verify(key, bytes(signature), none), good, signature);
  }
  // 0x7f is the last first byte that needs no 0 before it.
  const [x, last] = keyAt(0x7f80n << 240n, 1n);
  assertEquals(verify(last, signatureOf(x, x), none), true);
  const longer = bytes(tlv("30", tlv("02", `00${hex(x)}`) + integer(x)));
  assertEquals(verify(last, longer, none), false);
  // Both numbers are the same multiple of the same point.
  const twice = 0x7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978n;
  const base = readPrivateKey(P256, der(1n))!;
  assertEquals(verify(base, signatureOf(twice, twice), bytes(hex(twice))), true);
});

Deno.test("ecdsa: digests longer than the order are cut, and shorter ones are not", () => {
  for (const curve of [P192, P256, P521]) {
    const key = readPrivateKey(curve, bytes(tlv("30", tlv("02", "01") + tlv("04", "1234"))))!;
    const both = { ...key, d: 0x1234n };
    const size = curve === P192 ? 24 : curve === P256 ? 32 : 66;
    const digest = new Uint8Array(70).fill(0x5a);
    const signature = sign(both, digest);
    // Of the largest curve the order has 521 bits: the last 7 of its bytes do not count.
    const cut = digest.slice();
    cut[curve === P521 ? 65 : size]! ^= curve === P521 ? 0x7f : 0xff;
    assertEquals(verify(key, signature, cut), true);
    cut[size - 1]! ^= 0x80;
    assertEquals(verify(key, signature, cut), false);
    assertEquals(verify(key, sign(both, digest.subarray(0, 20)), digest.subarray(0, 20)), true);
    assertEquals(verify(key, sign(both, digest.subarray(0, 20)), digest.subarray(0, 21)), false);
  }
});

Deno.test("ecdsa: signatures are those of RFC 6979", () => {
  const d = 0xc9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721n;
  const digest = bytes("af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf");
  assertEquals(
    sign({ ...readPrivateKey(P256, der(d))!, d }, digest),
    signatureOf(
      0xefd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716n,
      0xf7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8n,
    ),
  );
  // Its first number begins with 0x7f, and has no 0 before that.
  const seven = { ...readPrivateKey(P256, der(7n))!, d: 7n };
  assertEquals([...sign(seven, bytes("0018")).subarray(2, 5)], [2, 32, 0x7f]);
});
