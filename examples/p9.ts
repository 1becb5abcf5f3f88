// Shares files with the host: lists, writes, reads back, renames.
//
//   vireo run --with 9p=DIRECTORY examples/p9.ts
import { p9Driver, P9Error } from "@vireo/drivers/p9";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const options = { signal: vireo.signal };
  const p9 = vireo.get(p9Driver);
  await using tree = await p9.attach(options);
  console.log(`attached to '${p9.mountTag}', ${tree.messageSize} bytes a message`);
  const poem = new TextEncoder().encode("Files are read like memory,\nand memory like files.\n");
  await tree.mkdir("poems", options);
  await tree.writeFile("poems/draft.txt", poem, options);
  await tree.rename("poems/draft.txt", "poems/files.txt", options);
  for (const { name, kind } of await tree.list("poems", options)) {
    const { size } = await tree.stat(`poems/${name}`, options);
    console.log(`${kind} ${name}, ${size} bytes`);
  }
  console.log(new TextDecoder().decode(await tree.readFile("poems/files.txt", options)).trimEnd());
  try {
    await tree.remove("poems", options);
  } catch (error) {
    if (!(error instanceof P9Error)) throw error;
    console.log(`the host says ${error.errnoName}`);
  }
  await tree.remove("poems/files.txt", options);
  await tree.remove("poems", options);
}
