// What hostile devices and drivers were seen to do, kind by kind, and the test that fails where it is not repaired. The
// test here is only that those tests are there: a test that is renamed or dropped leaves its row without one.
import { assert, assertEquals } from "@std/assert";

/** A test: its file from the root, and its name or a part of it as it is written there. */
type Row = readonly [kind: string, ...tests: readonly (readonly [file: string, name: string])[]];

const DRIVER = "tests/hostile/driver_test.ts";
const OWNERSHIP = "tests/hostile/ownership_test.ts";
const KNOWN = "tests/hostile/known_bugs_test.ts";
const LIES = "tests/hostile/liar.ts";
const BALLOON = "tests/balloon/machine_test.ts";
const PCI = "emu/transport/pci/hostile_test.ts";
const DECIDED = "emu/decisions_test.ts";
const model = (name: string): string => `tests/hostile/models/${name}.ts`;

/** Drivers, against a device that lies, dies or is slow. */
const DEVICES_DO: readonly Row[] = [
  [
    "a device's number sizes an array or a loop",
    [DRIVER, "hostile: scsi: 2^32 - 1 request queues are 8"],
    [DRIVER, "hostile: crypto: 2^32 - 1 data queues are refused, and of many 64 are used"],
    [DRIVER, "hostile: console: 32766 ports are 511"],
    [DRIVER, "hostile: a queue of 32768 is one of 1024"],
  ],
  [
    "memory is used again while the device still has it",
    [BALLOON, "balloon: pages that the host took late are not used before it gave them back"],
    [BALLOON, "balloon: reported memory comes back once, and is not reported twice meanwhile"],
    [DRIVER, "hostile: gpu: memory of a picture that the host will not let go waits for the reset"],
    [OWNERSHIP, "while the device holds each request"],
  ],
  [
    "memory is never freed",
    [DRIVER, "hostile: gpu: a picture from before a reset is void, and its memory is its owner's"],
    [DRIVER, "hostile: console: a probe that fails after its buffers were made frees them"],
    [OWNERSHIP, "memory that lacks at any step of a probe leaves none behind"],
    [OWNERSHIP, "used, recovered, suspended and removed"],
  ],
  [
    "the used length is ignored: unwritten bytes are given out",
    [KNOWN, "an answer shorter than its header is no answer"],
    [DRIVER, "hostile: scsi: empty blocks, and a good status for fewer bytes, are typed errors"],
    ["tests/crypto/machine_test.ts", "crypto: a status that the device never wrote is BAD_LENGTH"],
    ["drivers/virtqueue/exchange_test.ts", "exchange: exactly the written bytes are the answer"],
    ["drivers/virtqueue/exchange_test.ts", "exchange: a trailer has its place"],
  ],
  [
    "a wait outside of the caller's deadline or signal",
    [OWNERSHIP, '"abort", "deadline", "removal", "failure"'],
    ["tests/vsock/machine_test.ts", "holds nobody up beyond a deadline or a signal"],
    ["tests/vsock/machine_test.ts", "vsock: an abort of the writer ends a write that waits"],
    ["tests/crypto/machine_test.ts", "crypto: a session is made within one deadline"],
    [BALLOON, "balloon: a change of size waits for the others within its deadline"],
    ["tests/hostile/subjects.ts", "readFile: (limits)"],
  ],
  [
    "untyped errors out of a device's lie",
    [LIES, "a status that flips"],
    [LIES, "a status of noise"],
    [DRIVER, "hostile: scsi: empty blocks, and a good status for fewer bytes, are typed errors"],
    ["tests/hostile/lying_test.ts", "not a typed error"],
  ],
  ["starvation", [BALLOON, "balloon: a host that returns statistics at once starves nobody"]],
  [
    "state of the user is lost over a reset, or the device's is kept",
    [DRIVER, "hostile: blk: the write cache stays off over a recovery and a suspend"],
    [DRIVER, "hostile: gpu: a picture from before a reset is void"],
    [DRIVER, "crypto: a session from before a reset is not used again"],
    [DRIVER, "net: nothing is sent on a transmit queue that was given up"],
  ],
  [
    "bounds count bytes, not items",
    [DRIVER, "hostile: vsock: empty messages are bounded, and end the connection"],
    [DRIVER, "hostile: vsock: a stream of single bytes that waited is read whole, in one piece"],
    [DRIVER, "hostile: rpmsg: two services of one name are two, and 1024 are remembered"],
  ],
  [
    "a signal that is lost ends in TIMEOUT only",
    ["drivers/virtqueue/last_look_test.ts", "takes an answer whose interrupt was lost"],
    [
      "drivers/virtqueue/last_look_test.ts",
      "notifies again, names the place, and says what it saw",
    ],
    ["drivers/virtqueue/last_look_test.ts", "the status says more than the ring"],
    ["drivers/blk/driver_test.ts", "the last look takes answers whose interrupt or notification"],
  ],
  [
    "events are lost while a driver is busy, or not tried again",
    [BALLOON, "balloon: a command for hints that comes during a round is answered after it"],
    [BALLOON, "balloon: memory that lacks is tried for again, without being asked"],
  ],
];

/** Device models, against a hostile driver. */
const DRIVERS_DO: readonly Row[] = [
  [
    "host resources by a guest's number",
    [model("vsock"), "a connection that is over before the host answered leaves no stream"],
    [model("vsock"), "streams that the host does not let go of count against the limit"],
    [model("vsock"), "empty packets, or of one byte, cost the host no more than their bytes"],
    [model("vsock"), "a guest's word for its room sizes nothing, and timers go on"],
    [model("gpu"), "pictures, lists, blobs and what displays show have one limit together"],
    [model("gpu"), "a blob whose size grows at each scanout counts each time"],
    [model("p9"), "open directories count as open files, and their names have one limit together"],
    [model("streams"), "names that a driver announces are no more than 256"],
    [model("scsi"), "data that comes with a command is looked at only as far as the command"],
  ],
  [
    "one request holds the host",
    [model("gpu"), "a transfer costs its rows and its pieces, not one times the other"],
    [model("balloon"), "a list of a million pages is taken in turns"],
    [model("balloon"), "gigabytes of free memory are poisoned in turns"],
    [model("blk"), "a request that fails is cleared in turns, however large it is"],
    [model("crypto"), "a request that fails writes its status, and not the gigabytes before it"],
    [model("scsi"), "UNMAP checks its whole list, and its own limits, before it changes anything"],
    [model("streams"), "gigabytes for a host that takes all are sent in turns"],
  ],
  ["escape", [model("p9"), "another process that swaps directories for links lets nothing out"]],
  [
    "a wrong outcome: scsi",
    [model("scsi"), "a missing unit answers by sense data"],
    [model("scsi"), "a lun field that is not of the device's form names no unit"],
    [model("scsi"), "a task management request that is cut off is a fault"],
    [model("scsi"), "a task management request with bytes behind it"],
    [model("scsi"), "a CD that changes its size sends no event"],
    [model("scsi"), "a request that is held when its unit goes fails"],
  ],
  ["a wrong outcome: blk", [model("blk"), "buffers of the wrong direction are an error"]],
  [
    "a wrong outcome: PCI",
    [PCI, "nothing is read or written in memory while BUS_MASTER is off"],
    [PCI, "MSI-X message control takes writes of 8, 16 and 32 bits"],
    [PCI, "Interrupt Status is the OR of the ISR bits"],
    [PCI, "driver_feature reads back what was accepted of what is offered"],
  ],
  [
    "a wrong outcome: vsock",
    [model("vsock"), "another context id moves the generation on, and tells the driver"],
    [model("vsock"), "context ids have 64 bits: the upper half counts"],
  ],
  [
    "a wrong outcome: crypto",
    [model("crypto"), "creating a session answers OK, NOTSUPP, NOSPC or ERR, and nothing else"],
    [model("crypto"), "a tag of 99 bytes is refused with the session"],
  ],
  ["a wrong outcome: 9p", [model("p9"), "a name keeps its byte order mark"]],
  ["a wrong outcome: caif", [model("streams"), "a queue that is reset gives back the buffers"]],
  ["a wrong outcome: balloon", [model("balloon"), "hints after DONE change nothing"]],
  [
    "a snapshot that silently lacks the model's state",
    [model("balloon"), "pages, poison and the round of hints are in a snapshot"],
    [model("streams"), "buffers that the driver has, with their bytes, and a frame that is held"],
    [model("crypto"), "sessions survive a snapshot"],
    [model("gpu"), "pictures and displays are in a snapshot"],
    [model("streams"), "what is selected and events that wait are in a snapshot"],
    [model("p9"), "fids and open files go on after a snapshot"],
    [model("streams"), "names are in a snapshot"],
    [model("scsi"), "what a driver chose and what units have to tell is in a snapshot"],
    [model("vsock"), "a snapshot has the context id"],
  ],
  [
    "decided and written down",
    [DECIDED, "FAILED is a note of the driver's, and the device serves on"],
    [DECIDED, "a QueueSize that is refused is noted, and the size before it stays"],
    [DECIDED, "a notification whose offset is beyond the packed ring is noted, and served"],
  ],
];

/** Bugs that others had. */
const OTHERS_HAD: readonly Row[] = [
  ["an interrupt is lost", [KNOWN, "an answer between the read of the cause and the acknowledge"]],
  ["a whole-ring packed chain wraps", [KNOWN, "a list that takes a whole packed ring"]],
  ["num_buffers of 0 or 1000", [KNOWN, "a frame with num_buffers ${buffers} is dropped"]],
  ["blk_size of 0", [KNOWN, "a disk with blk_size 0 fails the probe by a typed error"]],
  ["a reply shorter than its header", [KNOWN, "an answer shorter than its header is no answer"]],
  ["a notification with an empty ring", [KNOWN, "notifications of empty rings do nothing"]],
];

Deno.test("hostile: each kind that was seen has its test", () => {
  const texts = new Map<string, string>();
  const missing: string[] = [];
  for (const [kind, ...tests] of [...DEVICES_DO, ...DRIVERS_DO, ...OTHERS_HAD]) {
    assert(tests.length > 0, kind);
    for (const [file, name] of tests) {
      const path = new URL(`../../${file}`, import.meta.url);
      texts.set(file, texts.get(file) ?? Deno.readTextFileSync(path));
      if (!texts.get(file)!.includes(name)) missing.push(`${kind}: ${file}: ${name}`);
    }
  }
  assertEquals(missing, []);
});

Deno.test("hostile: every model keeps its state in a snapshot, or has none", async () => {
  const emu: Readonly<Record<string, unknown>> = await import("@vireo/emu");
  const models = Object.entries(emu).filter(([name]) => /^[A-Z]\w+Device$/.test(name));
  const without = models.filter(([, value]) => {
    const { prototype } = value as { readonly prototype?: object };
    return prototype !== undefined && "notify" in prototype && !("snapshot" in prototype);
  });
  assertEquals(without.map(([name]) => name), []);
  assert(models.length >= 14, `${models.length} models`);
});
