// Every driver gives back what it takes: memory, listeners, and the device itself.
import { assert, assertEquals } from "@std/assert";
import { VireoError } from "@vireo/hal";
import config from "../../drivers/deno.json" with { type: "json" };
import { Rig, type RigOptions } from "./rig.ts";
import { turn } from "../turn.ts";
import { SUBJECTS } from "./subjects.ts";

const SOON = { deadline: 5000 };
const RINGS: readonly (readonly [name: string, options: RigOptions])[] = [
  ["split", {}],
  ["packed", { ring: { packed: true } }],
];

/** Paths of the drivers' package other than drivers. */
const NO_DRIVERS = [
  ".",
  "./bus",
  "./core",
  "./record",
  "./testing",
  "./trace",
  "./transport",
  "./wait",
];

Deno.test("ownership: there is a subject for each driver", () => {
  const names = Object.keys(config.exports).filter((name) => !NO_DRIVERS.includes(name));
  assertEquals(SUBJECTS.map(({ name }) => `./${name}`).sort(), names.sort());
});

/** Waits until an ask ended, and tells how: the code, or the reason's text. */
async function outcome(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
    return "done";
  } catch (error) {
    return error instanceof VireoError ? error.code : String(error);
  }
}

for (const subject of SUBJECTS) {
  const { name, driver } = subject;
  for (const [ring, options] of RINGS) {
    Deno.test(`ownership: ${name}: used, recovered, suspended and removed (${ring})`, async () => {
      // Memory is used once, and a balloon takes 2.4 MiB each time.
      const rigOptions = { ...options, memory: 12 << 20 };
      await using rig = await Rig.open(driver, subject.model(), rigOptions);
      const limits = { ...SOON, signal: rig.signals.controller().signal };
      await subject.use(rig.instance, limits, rig);
      await rig.fail(SOON);
      await subject.use(rig.instance, limits, rig);
      await rig.bus.freeze();
      await rig.bus.restore();
      await subject.use(rig.instance, limits, rig);
    });
  }

  Deno.test(`ownership: ${name}: memory that lacks at any step of a probe leaves none behind`, async () => {
    for (let allocations = 0;; allocations++) {
      await using rig = await Rig.open(driver, subject.model(), { allocations });
      const error = rig.device.error as VireoError | undefined;
      if (error === undefined) return;
      assertEquals([error.code, rig.dma.live], ["OUT_OF_MEMORY", 0], `after ${allocations}`);
    }
  });

  Deno.test(`ownership: ${name}: a machine that is gone fails requests, not the program`, async () => {
    await using rig = await Rig.open(driver, subject.model(), { lies: true });
    const asks = await subject.asks(rig.instance, SOON, rig);
    await turn();
    const { transport } = rig.device;
    const { notify } = transport;
    transport.notify = () => {
      throw new VireoError("HOST_ERROR", "The machine is gone");
    };
    for (const ask of Object.values(asks)) {
      const signal = rig.signals.controller().signal;
      assert(/^(?:done|[A-Z_]+)$/.test(await outcome(ask({ deadline: 20, signal }))));
    }
    transport.notify = notify;
  });

  for (const end of ["abort", "deadline", "removal", "failure"] as const) {
    Deno.test(`ownership: ${name}: ${end} while the device holds each request`, async (t) => {
      const first = await Rig.open(driver, subject.model());
      const names = Object.keys(await subject.asks(first.instance, SOON, first));
      await first[Symbol.asyncDispose]();
      for (const kind of names) {
        await t.step(kind, async () => {
          await using rig = await Rig.open(driver, subject.model());
          const ask = (await subject.asks(rig.instance, SOON, rig))[kind]!;
          await turn();
          rig.hold();
          const abort = rig.signals.controller();
          const deadline = end === "deadline" ? 20 : 5000;
          const asked = outcome(ask({ signal: abort.signal, deadline }));
          await turn();
          if (end === "abort") abort.abort(new Error("enough"));
          if (end === "removal") return await rig[Symbol.asyncDispose]();
          if (end === "failure") await rig.fail(SOON);
          const ended = await asked;
          assertEquals(rig.signals.listeners, 0, `${ended}: a listener is left`);
          if (end === "abort") assertEquals(ended, "Error: enough");
          if (end === "deadline") assertEquals(ended, "TIMEOUT");
          rig.release();
          await turn();
          await subject.use(rig.instance, SOON, rig);
        });
      }
    });
  }
}
