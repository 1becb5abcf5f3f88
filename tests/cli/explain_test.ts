import { assertEquals } from "@std/assert";
import { vireo } from "../cli_helper.ts";
import { errorLines } from "../../firmware/terminal/report.ts";
import { VireoError } from "@vireo/hal";

const SCRIPT = `import { SgList, type VirtioDevice } from "@vireo/drivers/core";
import type { Vireo } from "@vireo/firmware";
import { ANY_ID, DeviceId, FeatureSet, VireoError } from "@vireo/hal";

const driver = {
  name: "mine",
  ids: [{ device: DeviceId.RNG as number, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe(device: VirtioDevice) {
    const [queue] = device.findQueues([{ name: "input", callback() {} }]);
    device.ready();
    IN_PROBE
    return { remove: () => device.reset().then(() => device.deleteQueues()) };
  },
};

export default async function main(vireo: Vireo) {
  IN_MAIN
  await new Promise((resolve) => setTimeout(resolve, 50));
  console.log("done");
}
`;

const USE = "await vireo.use(driver);";

/** What the script does, and what is said of it. */
const CASES: Readonly<
  Record<string, { probe?: string; main: string; code: number; err: readonly string[] }>
> = {
  "a probe that throws": {
    probe: 'throw new Error("no such luck");',
    main: USE,
    code: 1,
    err: [
      "vireo: probe of virtio3 by mine failed: mine cannot drive the device (virtio3) [PROBE_FAILED]",
      "  because: Error: no such luck",
      "    at Object.probe (SCRIPT:12:11)",
    ],
  },
  "a probe that throws, without vireo.use": {
    probe: 'throw new Error("no such luck");',
    main: "await vireo.bus.registerDriver(driver, { replace: true });",
    code: 0,
    err: [
      "vireo: probe of virtio3 by mine failed: mine cannot drive the device (virtio3) [PROBE_FAILED]",
      "  because: Error: no such luck",
      "    at Object.probe (SCRIPT:12:11)",
    ],
  },
  "a driver whose device the bundled one holds": {
    main: "await vireo.bus.registerDriver(driver);",
    code: 0,
    err: [
      "vireo: mine drives nothing: virtio3 has virtio_rng; 'await vireo.use(driver)' takes it",
    ],
  },
  "a driver whose device the bundled one holds, and vireo.get": {
    main: "await vireo.bus.registerDriver(driver); vireo.get(driver);",
    code: 1,
    err: [
      "vireo: mine drives nothing: virtio3 has virtio_rng; 'await vireo.use(driver)' takes it",
      "vireo: mine has no device (emu): saw virtio3, which virtio_rng has, expected" +
      " 'await vireo.use(driver)', which takes it [NO_DEVICE]",
    ],
  },
  "a driver that matches nothing": {
    main: "driver.ids[0]!.device = 5; await vireo.bus.registerDriver(driver);",
    code: 0,
    err: ["vireo: mine drives nothing: the board has no balloon device"],
  },
  "a driver that matches nothing, with vireo.use": {
    main: `driver.ids[0]!.device = 5; ${USE}`,
    code: 1,
    err: [
      "vireo: mine drives nothing: the board has no balloon device",
      "vireo: No balloon device on the board (emu) [NO_DEVICE]",
    ],
  },
  "a buffer that is no memory": {
    probe: "queue!.add(new SgList(1).addWritable(0x10, 64), 0); queue!.kick();",
    main: USE,
    code: 0,
    err: [
      "vireo: virtio3: Cannot restore the device: mine has no restore() (virtio3) [UNSUPPORTED]",
      "  because: The device failed and must be reset (virtio3, register Status): saw 0x4f [DEVICE_NEEDS_RESET]",
      "  because: The driver erred: queue 0, descriptor 0: element at 0x10, 64 bytes, is outside guest memory" +
      " (virtio 1.4 §2.7.5) (virtio-mmio@a000600) [VIOLATION]",
      "vireo: virtio-mmio@a000600: the driver erred: queue 0, descriptor 0: element at 0x10, 64 bytes," +
      " is outside guest memory (virtio 1.4 §2.7.5)",
    ],
  },
  "a register that is written wrongly": {
    main: `${USE} vireo.bus.devices[3]!.transport.notify(7, -1);`,
    code: 0,
    err: [
      "vireo: virtio-mmio@a000600: the driver erred: QueueNotify 0x7: names a queue that does not run" +
      " (virtio 1.4 §2.9)",
    ],
  },
  "a mistake in the script": {
    main: "await (undefined as never as () => void)();",
    code: 1,
    err: ["vireo: TypeError: undefined is not a function", "    at main (SCRIPT:18:9)"],
  },
  "a mistake in the script, and one when the board is closed": {
    main: `${USE}
  Object.assign(vireo.bus.devices[3]!.instance!, { remove() { throw new Error("stuck"); } });
  throw new Error("mine");`,
    code: 1,
    err: [
      "vireo: Error: mine",
      "    at main (SCRIPT:20:9)",
      "vireo: Error: stuck",
      "    at Object.remove (SCRIPT:19:69)",
    ],
  },
  "several mistakes at once": {
    main:
      'throw new AggregateError([new TypeError("one"), new VireoError("TIMEOUT", "Two")], "Both");',
    code: 1,
    err: [
      "vireo: Both",
      "  because: TypeError: one",
      "    at main (SCRIPT:18:29)",
      "  because: Two [TIMEOUT]",
    ],
  },
  "nothing wrong": { main: USE, code: 0, err: [] },
};

for (const [name, { probe = "", main, code, err }] of Object.entries(CASES)) {
  Deno.test(`run says what went wrong: ${name}`, async () => {
    const script = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(
        script,
        SCRIPT.replace("IN_PROBE", probe).replace("IN_MAIN", main),
      );
      const run = await vireo(`run ${script}`);
      const lines = run.err.split("\n").slice(0, -1).map((line) =>
        line.replace(`file://${script}`, "SCRIPT")
      );
      assertEquals(lines, err);
      assertEquals([run.code, run.out], [code, code === 0 ? "done\n" : ""]);
    } finally {
      await Deno.remove(script);
    }
  });
}

Deno.test("errors are said with their causes, each once, and not without end", () => {
  const inner = new VireoError("VIOLATION", "Inner");
  const outer = new VireoError("TIMEOUT", "Outer", { cause: inner });
  inner.cause = outer;
  assertEquals(errorLines(outer), ["Outer [TIMEOUT]", "  because: Inner [VIOLATION]"]);
  let deep = new VireoError("TIMEOUT", "level 0.");
  for (let i = 1; i < 100; i++) deep = new VireoError("TIMEOUT", `level ${i}.`, { cause: deep });
  assertEquals(errorLines(deep).length, 8);
  assertEquals(errorLines("text"), ["text"]);
  const host = new Error("no such file");
  const quoted = new VireoError("HOST_ERROR", "Cannot open", { seen: host.message, cause: host });
  assertEquals(errorLines(quoted), ["Cannot open: saw no such file [HOST_ERROR]"]);
});
