import { assertEquals } from "@std/assert";

/** Runs tshark on a file, with arguments of one's own, and returns the lines that it prints. */
type Tshark = (...args: string[]) => Promise<string[]>;

/**
 * Makes a folder with a trace one that tshark reads with our dissector: from 4.4 on, Wireshark runs no Lua as root, so
 * then it is somebody else, who may read those files.
 */
export async function openTshark(dir: string, file: string): Promise<Tshark> {
  const lua = `${dir}/vireo.lua`;
  await Deno.copyFile(new URL("../../firmware/trace/vireo.lua", import.meta.url), lua);
  for (const path of [dir, file, lua]) await Deno.chmod(path, 0o755);
  const root = Deno.uid() === 0;
  const other = ["--reuid=65534", "--regid=65534", "--clear-groups", "tshark"];
  return async (...args) => {
    const { code, stdout, stderr } = await new Deno.Command(root ? "setpriv" : "tshark", {
      args: [...root ? other : [], "-r", file, "-X", `lua_script:${lua}`, ...args],
      env: { HOME: dir },
      stdout: "piped",
      stderr: "piped",
    }).output();
    assertEquals([code, args], [0, args], new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim().split("\n");
  };
}
