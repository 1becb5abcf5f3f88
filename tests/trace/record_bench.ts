// Records and replays about a million records of small reads; prints size and speed. Time is that of the processor, so that
// other programs on the machine count little.
// deno run -A tests/trace/record_bench.ts [reads]
import { blkDriver, Bus } from "@vireo/drivers";
import { Recorder, RecordReader, Replay } from "@vireo/drivers/record";
import { BlkDevice, EmulatedMachine, MemoryDisk } from "@vireo/emu";
import { joinBytes, type Platform } from "@vireo/hal";
import { processorTime } from "../../drivers/async_test_util.ts";

const READS = Number(Deno.args[0] ?? 40_000);

async function reads(machine: Platform, rings?: Recorder | Replay): Promise<number> {
  await using bus = new Bus({ rings });
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  const blk = bus.get(blkDriver)!;
  const start = processorTime();
  for (let i = 0; i < READS; i++) await blk.read(i & 63, 512);
  return processorTime() - start;
}

const machine = (): EmulatedMachine =>
  EmulatedMachine.create({
    devices: [{ model: new BlkDevice({ disk: new MemoryDisk(64 * 512) }) }],
  });
const bare = await reads(machine());
const chunks: Uint8Array[] = [];
const recorder = new Recorder(machine(), (bytes) => chunks.push(bytes));
const recorded = await reads(recorder, recorder);
recorder.close();
const bytes = joinBytes(...chunks);
let records = 0;
let data = 0;
const reader = new RecordReader(bytes);
while (reader.next()) {
  records++;
  if (reader.bytes.length === 512) data += 512;
}
const replay = new Replay(bytes);
const replayed = await reads(replay, replay);
const per = (ms: number): string => `${(ms / READS * 1000).toFixed(1)} us a read`;
const rate = (ms: number): string => `${Math.round(records / ms * 1000)} records a second`;
console.log(`${READS} reads, ${records} records, ${bytes.length} bytes, of which ${data} data`);
console.log(`bare ${per(bare)}; recorded ${per(recorded)}, ${rate(recorded)}`);
console.log(
  `replayed ${per(replayed)}, ${rate(replayed)}; diverged: ${replay.end() !== undefined}`,
);
