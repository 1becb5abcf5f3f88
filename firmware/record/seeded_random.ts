import { seededRandom } from "@vireo/emu/backends";

/**
 * Gives a program the same random numbers when it is recorded and when it is replayed: `Math.random` and
 * `crypto.getRandomValues` come from a seed until the result is disposed of. They are no secrets meanwhile.
 */
export function seedRandom(seed: number): Disposable {
  const { random } = Math;
  const { getRandomValues } = crypto;
  const fill = seededRandom(seed);
  const word = new Uint32Array(1);
  Math.random = () => {
    fill(new Uint8Array(word.buffer));
    return word[0]! / 2 ** 32;
  };
  crypto.getRandomValues = (array) => {
    const { buffer, byteOffset, byteLength } = array;
    fill(new Uint8Array(buffer, byteOffset, byteLength));
    return array;
  };
  return {
    [Symbol.dispose]: () => {
      Math.random = random;
      crypto.getRandomValues = getRandomValues;
    },
  };
}
