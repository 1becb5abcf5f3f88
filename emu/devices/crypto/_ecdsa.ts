import { createHmac } from "node:crypto";
import { CryptoCurve } from "@vireo/hal";

/** A curve y² = x³ - 3x + b over a prime field (NIST SP 800-186 §3.2.1). */
interface Curve {
  readonly p: bigint;
  readonly b: bigint;
  /** The order of the base point. */
  readonly n: bigint;
  readonly x: bigint;
  readonly y: bigint;
  /** Bytes of a coordinate. */
  readonly size: number;
  /** The DER of its OBJECT IDENTIFIER (RFC 5480 §2.1.1.1). */
  readonly oid: string;
}

/** Key of a curve: a number or a point. */
export interface EcKey {
  readonly curve: Curve;
  /** The private number; undefined in a public key. */
  readonly d?: bigint;
  /** The public point. */
  readonly q: Point;
}

/** A point in Jacobian coordinates; at infinity if z is 0. */
type Point = readonly [x: bigint, y: bigint, z: bigint];

const INFINITY: Point = [0n, 1n, 0n];

const CURVES: Readonly<Record<number, Curve>> = {
  [CryptoCurve.NIST_P192]: {
    p: 2n ** 192n - 2n ** 64n - 1n,
    b: 0x64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1n,
    n: 0xffffffffffffffffffffffff99def836146bc9b1b4d22831n,
    x: 0x188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012n,
    y: 0x07192b95ffc8da78631011ed6b24cdd573f977a11e794811n,
    size: 24,
    oid: "06082a8648ce3d030101",
  },
  [CryptoCurve.NIST_P224]: {
    p: 2n ** 224n - 2n ** 96n + 1n,
    b: 0xb4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4n,
    n: 0xffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3dn,
    x: 0xb70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21n,
    y: 0xbd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34n,
    size: 28,
    oid: "06052b81040021",
  },
  [CryptoCurve.NIST_P256]: {
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
    y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
    size: 32,
    oid: "06082a8648ce3d030107",
  },
  [CryptoCurve.NIST_P384]: {
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
    y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
    size: 48,
    oid: "06052b81040022",
  },
  [CryptoCurve.NIST_P521]: {
    p: 2n ** 521n - 1n,
    b: 0x051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    n: 0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    x: 0xc6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66n,
    y: 0x11839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650n,
    size: 66,
    oid: "06052b81040023",
  },
};

/** Whether there is such a curve. */
export function hasCurve(curve: number): boolean {
  return CURVES[curve] !== undefined;
}

/**
 * Reads a private key, an `ECPrivateKey` in DER (RFC 5915 §3).
 *
 * @returns Nothing if it is none of the curve.
 */
export function readPrivateKey(id: number, der: Uint8Array): EcKey | undefined {
  const curve = CURVES[id]!;
  const sequence = readTlv(der, 0x30);
  if (sequence === undefined || sequence.rest.length > 0) return undefined;
  const version = readTlv(sequence.value, 0x02);
  const number = version && readTlv(version.rest, 0x04);
  if (version?.value.length !== 1 || version.value[0] !== 1 || number === undefined) {
    return undefined;
  }
  const d = toBig(number.value);
  const named = readTlv(number.rest, 0xa0);
  const other = named !== undefined && hex(named.value) !== curve.oid;
  if (other || d < 1n || d >= curve.n) return undefined;
  return { curve, d, q: multiply(curve, d, [curve.x, curve.y, 1n]) };
}

/**
 * Reads a public key, a point that is not compressed (SEC 1 §2.3.3).
 *
 * @returns Nothing if it is none of the curve.
 */
export function readPublicKey(id: number, point: Uint8Array): EcKey | undefined {
  const curve = CURVES[id]!;
  const { p, b, size } = curve;
  if (point.length !== 1 + 2 * size || point[0] !== 4) return undefined;
  const x = toBig(point.subarray(1, 1 + size));
  const y = toBig(point.subarray(1 + size));
  if (x >= p || y >= p || mod(y * y - x * x * x + 3n * x - b, p) !== 0n) return undefined;
  return { curve, q: [x, y, 1n] };
}

/**
 * Signs a digest (FIPS 186-5 §6.4.1), with the number that RFC 6979 derives from key and digest by HMAC-SHA-256.
 *
 * @returns `Ecdsa-Sig-Value` in DER.
 */
export function sign({ curve, d }: EcKey & { readonly d: bigint }, digest: Uint8Array): Uint8Array {
  const { n } = curve;
  const e = toScalar(curve, digest);
  for (const k of nonces(curve, d, e)) {
    const [x] = toAffine(curve, multiply(curve, k, [curve.x, curve.y, 1n]));
    const r = mod(x, n);
    const s = mod(invert(k, n) * (e + r * d), n);
    if (r !== 0n && s !== 0n) return tlv(0x30, [...integer(r), ...integer(s)]);
  }
  throw new Error("unreachable: there are always more numbers");
}

/** Whether a signature is one of a digest (FIPS 186-5 §6.4.2). */
export function verify({ curve, q }: EcKey, signature: Uint8Array, digest: Uint8Array): boolean {
  const { n } = curve;
  const sequence = readTlv(signature, 0x30);
  const first = sequence && readTlv(sequence.value, 0x02);
  const second = first && readTlv(first.rest, 0x02);
  if (second === undefined || sequence!.rest.length > 0 || second.rest.length > 0) return false;
  const r = readInteger(first!.value);
  const s = readInteger(second.value);
  if (r === undefined || s === undefined || r < 1n || r >= n || s < 1n || s >= n) return false;
  const w = invert(s, n);
  const e = toScalar(curve, digest);
  const point = add(
    curve,
    multiply(curve, mod(e * w, n), [curve.x, curve.y, 1n]),
    multiply(curve, mod(r * w, n), q),
  );
  return point[2] !== 0n && mod(toAffine(curve, point)[0], n) === r;
}

/** The leftmost bits of a digest, as many as the order has. */
function toScalar({ n }: Curve, digest: Uint8Array): bigint {
  const over = digest.length * 8 - n.toString(2).length;
  const value = toBig(digest);
  return mod(over > 0 ? value >> BigInt(over) : value, n);
}

/** Numbers for a signature (RFC 6979 §3.2). */
function* nonces({ n, size }: Curve, d: bigint, e: bigint): Generator<bigint> {
  const bits = n.toString(2).length;
  const length = Math.ceil(bits / 8);
  const secret = [...toBytes(d, length), ...toBytes(e, length)];
  const mac = (key: Uint8Array, data: readonly number[]): Uint8Array =>
    createHmac("sha256", key).update(Uint8Array.from(data)).digest();
  let v = new Uint8Array(32).fill(1) as Uint8Array;
  let k = new Uint8Array(32) as Uint8Array;
  for (const separator of [0, 1]) {
    k = mac(k, [...v, separator, ...secret]);
    v = mac(k, [...v]);
  }
  while (true) {
    const bytes: number[] = [];
    while (bytes.length < size) {
      v = mac(k, [...v]);
      bytes.push(...v);
    }
    const whole = Uint8Array.from(bytes.slice(0, length));
    const number = toBig(whole) >> BigInt(length * 8 - bits);
    if (number >= 1n && number < n) yield number;
    k = mac(k, [...v, 0]);
    v = mac(k, [...v]);
  }
}

function double({ p }: Curve, [x, y, z]: Point): Point {
  if (z === 0n || y === 0n) return INFINITY;
  const zz = z * z % p;
  const yy = y * y % p;
  const s = 4n * x * yy % p;
  const m = 3n * (x - zz) * (x + zz) % p;
  const x3 = mod(m * m - 2n * s, p);
  return [x3, mod(m * (s - x3) - 8n * yy * yy, p), 2n * y * z % p];
}

function add(curve: Curve, a: Point, b: Point): Point {
  if (a[2] === 0n) return b;
  if (b[2] === 0n) return a;
  const { p } = curve;
  const aa = a[2] * a[2] % p;
  const bb = b[2] * b[2] % p;
  const u = a[0] * bb % p;
  const s = a[1] * bb * b[2] % p;
  const h = mod(b[0] * aa - u, p);
  const r = mod(b[1] * aa * a[2] - s, p);
  if (h === 0n) return r === 0n ? double(curve, a) : INFINITY;
  const hh = h * h % p;
  const hhh = h * hh % p;
  const v = u * hh % p;
  const x = mod(r * r - hhh - 2n * v, p);
  return [x, mod(r * (v - x) - s * hhh, p), h * a[2] * b[2] % p];
}

function multiply(curve: Curve, scalar: bigint, point: Point): Point {
  let sum = INFINITY;
  for (const bit of scalar.toString(2)) {
    sum = double(curve, sum);
    if (bit === "1") sum = add(curve, sum, point);
  }
  return sum;
}

function toAffine({ p }: Curve, [x, y, z]: Point): readonly [bigint, bigint] {
  const inverse = invert(z, p);
  const square = inverse * inverse % p;
  return [x * square % p, y * square * inverse % p];
}

const mod = (value: bigint, modulus: bigint): bigint => (value % modulus + modulus) % modulus;

/** The inverse by a prime modulus. */
function invert(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [mod(value, modulus), modulus, 1n, 0n];
  while (a > 1n) {
    const q = b / a;
    [a, b, x, y] = [b - q * a, a, y - q * x, x];
  }
  return mod(x, modulus);
}

const hex = (bytes: Uint8Array): string => bytes.toHex();
const toBig = (bytes: Uint8Array): bigint => BigInt(`0x0${hex(bytes)}`);
const toBytes = (value: bigint, length: number): Uint8Array =>
  Uint8Array.fromHex(value.toString(16).padStart(length * 2, "0"));

/** Reads an element of DER that has a tag. */
function readTlv(
  bytes: Uint8Array,
  tag: number,
): { readonly value: Uint8Array; readonly rest: Uint8Array } | undefined {
  if (bytes[0] !== tag || bytes.length < 2) return undefined;
  let [length, from] = [bytes[1]!, 2];
  if (length === 0x81) [length, from] = [bytes[2]!, 3];
  else if (length > 0x7f) return undefined;
  if (bytes.length < from + length) return undefined;
  return { value: bytes.subarray(from, from + length), rest: bytes.subarray(from + length) };
}

/** An INTEGER of DER; undefined if it is negative or has bytes too many. */
function readInteger(value: Uint8Array): bigint | undefined {
  const short = value.length === 1 || value[0] !== 0 || value[1]! > 0x7f;
  return value[0]! <= 0x7f && short ? toBig(value) : undefined;
}

function integer(value: bigint): Uint8Array {
  const digits = value.toString(16);
  const bytes = Uint8Array.fromHex(digits.padStart(digits.length + digits.length % 2, "0"));
  return tlv(0x02, bytes[0]! > 0x7f ? [0, ...bytes] : [...bytes]);
}

function tlv(tag: number, value: readonly number[]): Uint8Array {
  const { length } = value;
  return Uint8Array.from([tag, ...length > 0x7f ? [0x81, length] : [length], ...value]);
}
