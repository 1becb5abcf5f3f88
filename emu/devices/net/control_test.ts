// Receive-mode commands by their bytes; numbers are typed again from virtio 1.4 §5.1.9.5.1.
import { assertEquals } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import type { DeviceContext } from "../../device.ts";
import { ArrayChain } from "../../testing/fake_chain.ts";
import { type ControlTarget, runControl } from "./control.ts";

const CTRL_RX = 18;
const CTRL_RX_EXTRA = 20;

Deno.test("net control: each receive mode needs its feature, one byte, and is one of six", () => {
  const run = (command: number, features: readonly number[], data: readonly number[]) => {
    const set: [number, boolean][] = [];
    const filter = {
      setMode: (mode: number, on: boolean): boolean => {
        set.push([mode, on]);
        return mode < 6;
      },
    };
    const chain = new ArrayChain(Uint8Array.from([0, command, ...data]), new Uint8Array(1));
    const context = { features: FeatureSet.of(...features) } as unknown as DeviceContext;
    return [runControl(chain, context, { filter } as unknown as ControlTarget), set];
  };
  const both = [CTRL_RX, CTRL_RX_EXTRA];
  for (let command = 0; command < 6; command++) {
    const needed = command < 2 ? CTRL_RX : CTRL_RX_EXTRA;
    const other = command < 2 ? CTRL_RX_EXTRA : CTRL_RX;
    assertEquals(run(command, [needed], [1]), [0, [[command, true]]]);
    assertEquals(run(command, both, [0]), [0, [[command, false]]]);
    assertEquals(run(command, [other], [1]), [1, []]);
    assertEquals(run(command, both, []), [1, []]);
    assertEquals(run(command, both, [1, 1]), [1, []]);
  }
  assertEquals(run(6, both, [1]), [1, [[6, true]]]);
});
