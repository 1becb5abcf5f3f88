import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { BOARDS, MMIO_BOARDS } from "../../firmware/boards/mod.ts";
import { makeDemoDisk } from "../../firmware/disk/demo_disk.ts";
import { call, VIREO, vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

const QTEST = MMIO_BOARDS.filter((board) => board.targets.includes("qtest"));

for (const board of QTEST) {
  Deno.test(`demo passes on QEMU's devices: ${board.name}, versions 1 and 2`, async () => {
    for (const legacy of ["", " --legacy"]) {
      const run = await call(`demo --json --target qtest:${board.name}${legacy}`);
      assertEquals([run.code, run.err], [0, ""]);
      const report = JSON.parse(run.out);
      assertEquals([report.ok, report.board.devices.length], [true, 4]);
      const { blk } = report.results;
      assertEquals([blk.ok, blk.data.sha256], [true, blk.data.host]);
      assertEquals(report.board.devices[0].transport, legacy === "" ? "mmio-2" : "mmio-1");
    }
  });
}

Deno.test("a disk written on a QEMU board is found in the image", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  await makeDemoDisk(`${dir}/d.img`);
  const data = crypto.getRandomValues(new Uint8Array(60_000));
  const args = `blk write --sector 7 --flush --target qtest:aarch64-virt --blk ${dir}/d.img`;
  const write = await vireo(args, data);
  assertEquals([write.code, write.err], [0, ""]);
  const image = await Deno.readFile(`${dir}/d.img`);
  assertEquals(image.subarray(7 * 512, 7 * 512 + data.length), data);
});

Deno.test("scripts reach QEMU's monitor and hold several boards", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const script = `${dir}/s.ts`;
  await Deno.writeTextFile(
    script,
    `import { openVireo, type Vireo } from "@vireo/firmware";
       export default async (vireo: Vireo) => {
         await using other = await openVireo({ target: "qtest:riscv64-virt", blk: [] });
         const { running } = await vireo.qmp!.execute("query-status") as { running: boolean };
         const bytes = await other.rng.read(4);
         console.log(running, vireo.bus.devices.length, other.bus.devices.length, bytes.length);
       };`,
  );
  const run = await vireo(`run --target qtest:x86_64-microvm ${script}`);
  assertEquals([run.code, run.out, run.err], [0, "true 4 3 4\n", ""]);
});

Deno.test("a QEMU that does not start says why in one line", async () => {
  const target = "probe --target qtest:riscv64-virt";
  const cases: [string, RegExp][] = [
    [`${target} --device virtio-nope`, /'virtio-nope' is not a valid device model/],
    [`${target} --qemu /nonexistent/qemu`, /\/nonexistent\/qemu/],
    [`${target} --qemu-arg -nonsense`, /-nonsense: invalid option/],
    [`${target} --blk /nonexistent.img`, /nonexistent\.img/],
  ];
  for (const [args, message] of cases) {
    const result = await call(args);
    assertEquals([args, result.code, result.out], [args, 1, ""]);
    assertMatch(result.err, /^vireo: .*\[HOST_ERROR\]\n$/s);
    assertMatch(result.err, message);
  }
});

Deno.test("run --watch runs a script again when it changed", async () => {
  const dir = await Deno.makeTempDir({ prefix: "vireo-cli-" });
  const script = `${dir}/w.ts`;
  await Deno.writeTextFile(script, `export default () => console.log("first");`);
  const child = new Deno.Command(VIREO, {
    args: ["run", "--watch", script],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const deadline = setTimeout(() => child.kill("SIGKILL"), 20_000);
  try {
    let text = "";
    for await (const bytes of child.stdout) {
      text += new TextDecoder().decode(bytes);
      if (text === "first\n") {
        await Deno.writeTextFile(script, `export default () => console.log("second");`);
      }
      if (text.includes("second")) break;
    }
    assertStringIncludes(text, "first\nsecond\n");
  } finally {
    clearTimeout(deadline);
    child.kill("SIGTERM");
    await child.status;
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("probe lists the PCI functions of a board, and nothing that is the machine's own", async () => {
  const kinds = { "": 0x1040, " --transitional": 0x1000, " --legacy": 0x1000 };
  for (const [flags, base] of Object.entries(kinds)) {
    const run = await call(`probe --json --target qtest:x86_64-q35${flags}`);
    const { slots, functions } = JSON.parse(run.out);
    const id = (modern: number, transitional: number) =>
      `1af4:${(base + (base === 0x1040 ? modern : transitional)).toString(16)}`;
    assertEquals(
      functions.map(({ name, ids }: { name: string; ids: string }) => `${name} ${ids}`),
      [
        "0000:00:00.0 8086:29c0",
        `0000:00:01.0 ${id(1, 0)}`,
        `0000:00:02.0 ${id(2, 1)}`,
        `0000:00:03.0 ${id(3, 3)}`,
        `0000:00:04.0 ${id(4, 5)}`,
        "0000:00:1f.0 8086:2918",
      ],
    );
    assertEquals(slots, 0);
  }
});

Deno.test("boards lists every board with its targets", async () => {
  const { boards } = JSON.parse((await vireo("boards --json")).out);
  assertEquals(boards.map((board: { name: string }) => board.name), BOARDS.map((b) => b.name));
  assert(boards.every((board: { targets: string[] }) => board.targets.length > 0));
  for (const { pci, interfaces } of boards) {
    assertEquals(interfaces.includes("--transitional"), pci !== undefined);
  }
  const text = (await call("boards")).out;
  assertStringIncludes(text, "PCI Express, configuration at 0x4010000000, MSI-X by gicv2m");
  assertStringIncludes(text, "interrupts qtest: MSI-X and INTx; qemu: INTx by uio_pci_generic");
});
