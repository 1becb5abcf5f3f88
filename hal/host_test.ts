import { assert, assertEquals } from "@std/assert";

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
