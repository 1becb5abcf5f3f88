import { assert, assertEquals } from "@std/assert";
Deno.test("a tied command's process ends with the one that started it, even if that is killed", async () => {
  const host = new URL("./host.ts", import.meta.url).href;
  const script = `import { tiedCommand } from ${JSON.stringify(host)};
const [program, args] = tiedCommand("sleep", ["1000"]);
console.log(new Deno.Command(program, { args, stdin: "inherit", stdout: "inherit" }).spawn().pid);`;
  const parent = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", script],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const screen = parent.stdout.getReader();
  let pid = "";
  while (!pid.endsWith("\n")) pid += new TextDecoder().decode((await screen.read()).value);
  assert(Deno.statSync(`/proc/${Number(pid)}`).isDirectory);
  parent.kill("SIGKILL");
  // The output's other end is the sleeping process's too: it ends when both have ended.
  assertEquals((await screen.read()).done, true);
  await parent.status;
});
