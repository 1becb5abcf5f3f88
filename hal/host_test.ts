import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "./errors.ts";
import { debianPackage, findProgram, requireProgram, tiedCommand } from "./host.ts";

Deno.test("a tied command's process ends with the one that started it, even if that is killed", async () => {
  const host = new URL("./host.ts", import.meta.url).href;
  const script = `import { tiedCommand } from ${JSON.stringify(host)};
const [program, args] = tiedCommand("sh", ["-c", "echo $$; exec sleep 1000"]);
new Deno.Command(program, { args, stdin: "inherit", stdout: "inherit" }).spawn();`;
  const parent = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", script],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const screen = parent.stdout.getReader();
  // It says so itself: a process that is tied only after its starter's end is not.
  let pid = "";
  while (!pid.endsWith("\n")) pid += new TextDecoder().decode((await screen.read()).value);
  assert(Deno.statSync(`/proc/${Number(pid)}`).isDirectory);
  parent.kill("SIGKILL");
  // The output's other end is the sleeping process's too: it ends when both have ended.
  assertEquals((await screen.read()).done, true);
  await parent.status;
});

Deno.test("the package of RISC-V's QEMU goes by the release of Debian, others by their name", () => {
  const release = (id: string, version?: string): string =>
    `NAME=x\nID=${id}\n${version === undefined ? "" : `VERSION_ID=${version}\n`}`;
  for (
    const [text, name] of [
      [release("debian", '"12"'), "qemu-system-misc"],
      [release('"debian"', "11"), "qemu-system-misc"],
      [release("debian", '"13"'), "qemu-system-riscv"],
      [release("debian"), "qemu-system-riscv"],
      [release("ubuntu", '"12.04"'), "qemu-system-riscv"],
      ["", "qemu-system-riscv"],
    ]
  ) {
    assertEquals(debianPackage("qemu-system-riscv64", text), name, text);
    assertEquals(debianPackage("qemu-system-aarch64", text), "qemu-system-arm");
    assertEquals(debianPackage("tshark", text), "tshark");
  }
});

Deno.test("a program is the first of its name that can be run", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-programs-" });
  const before = Deno.env.get("PATH")!;
  try {
    for (const name of ["a", "b", "c"]) await Deno.mkdir(`${folder}/${name}`);
    // A folder of that name, a program, and another one.
    await Deno.mkdir(`${folder}/a/vireo-program`);
    for (const name of ["b", "c"]) {
      await Deno.writeTextFile(`${folder}/${name}/vireo-program`, "#!/bin/sh\n", { mode: 0o755 });
    }
    await Deno.writeTextFile(`${folder}/c/data`, "", { mode: 0o644 });
    Deno.env.set("PATH", `${folder}/a:${folder}/none:${folder}/b:${folder}/c`);
    const found = `${folder}/b/vireo-program`;
    assertEquals(
      [findProgram("vireo-program"), requireProgram("vireo-program"), findProgram("data")],
      [found, found, undefined],
    );
    assertEquals(tiedCommand("vireo-program", ["x"]), ["vireo-program", ["x"]]);
    await Deno.symlink("/bin/true", `${folder}/c/setpriv`);
    assertEquals(
      tiedCommand("vireo-program", ["x"]),
      [`${folder}/c/setpriv`, ["--pdeathsig", "KILL", "--", "vireo-program", "x"]],
    );
    for (
      const [program, why] of [
        ["no-program", "no folder of PATH has it; no-program is in Debian's package no-program"],
        [`${folder}/a`, "it is a folder"],
        [`${folder}/none`, "there is no such file"],
        [`${folder}/c/data/x`, "there is no such file"],
        ["/dev/null", "it is not a file"],
      ] as const
    ) {
      const error = assertThrows(() => requireProgram(program), VireoError);
      assertEquals([error.code, error.message], ["HOST_ERROR", `Cannot run ${program}: ${why}`]);
    }
  } finally {
    Deno.env.set("PATH", before);
    await Deno.remove(folder, { recursive: true });
  }
});
