import { get, join, u16, u32 } from "../bytes.ts";
import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { TYPE } from "../requests.ts";
import { ACK, command, control, NET_CONTROL } from "./net_control.ts";

const NET = { devices: [TYPE.NET] } as const;
const { CTRL_VQ } = NET_CONTROL;
const VQ_NOTF_COAL = 52;
const NOTF_COAL = 53;
const CLASS = 6;
const [TX_SET, RX_SET, VQ_SET, VQ_GET] = [0, 1, 2, 3] as const;

/** The data of VQ_SET. */
const parameters = (queue: number, packets: number, usecs: number, reserved = 0): Uint8Array =>
  join(u16(queue, reserved), u32(packets, usecs));

/** Asks for a queue's parameters. @returns The ack, and if it is OK what follows it. */
async function ask(c: CheckContext, control: number, queue: number): Promise<number[]> {
  const command = [Uint8Array.of(CLASS, VQ_GET), u16(queue, 0)];
  const { bytes } = await c.ask(control, command, [9]);
  return bytes[0] === ACK.OK ? [ACK.OK, get(bytes, 1, 4), get(bytes, 5, 4)] : [bytes[0]!];
}

const accepted: Check[] = ([["tx", TX_SET], ["rx", RX_SET]] as const).map(([name, code]) => ({
  id: `net.command.coalesce-${name}`,
  clauses: ["dev.net.coalescing.2"],
  done: `the control command ${CLASS}, ${code} is sent with 0, which every device can do`,
  expected: "OK",
  offers: [CTRL_VQ, NOTF_COAL],
  scope: NET,
  async run(c) {
    const queue = await control(c, NOTF_COAL);
    c.equal("ack", await command(c, queue, CLASS, code, u32(0, 0)), ACK.OK);
  },
}));

const queues: Check[] = [
  {
    id: "net.coalescing.own",
    clauses: ["dev.net.coalescing.1", "dev.net.coalescing.3"],
    done: "one queue's parameters are set, with a reserved field that is not 0, and read",
    expected: "they are as they were set, or setting them was refused",
    offers: [CTRL_VQ, VQ_NOTF_COAL],
    scope: NET,
    async run(c) {
      const queue = await control(c, VQ_NOTF_COAL);
      const before = await ask(c, queue, 0);
      c.equal("ack of VQ_GET", before[0], ACK.OK);
      const ack = await command(c, queue, CLASS, VQ_SET, parameters(0, 3, 40, 0xffff));
      const expected = ack === ACK.OK ? [ACK.OK, 3, 40] : before;
      c.equal("parameters", (await ask(c, queue, 0)).join(), expected.join());
    },
  },
  {
    id: "net.coalescing.reset",
    clauses: ["dev.net.coalescing.8"],
    done: "one queue's parameters are set, the device is reset, and they are read",
    expected: "0 and 0",
    offers: [CTRL_VQ, VQ_NOTF_COAL],
    scope: NET,
    async run(c) {
      const before = await control(c, VQ_NOTF_COAL);
      await command(c, before, CLASS, VQ_SET, parameters(0, 3, 40));
      const queue = await control(c, VQ_NOTF_COAL);
      c.equal("parameters", (await ask(c, queue, 0)).join(), [ACK.OK, 0, 0].join());
    },
  },
];

const refused: Check[] = ([["control queue", 2], ["queue that is not there", 0x7ffe]] as const).map(
  ([name, index]) => ({
    id: `net.hostile.coalesce-${name.replaceAll(" ", "-")}`,
    clauses: ["dev.net.coalescing.4", "drv.net.coalescing.1"],
    done: `the parameters of the ${name} are set and read`,
    expected: "ERR",
    hostile: true,
    offers: [CTRL_VQ, VQ_NOTF_COAL],
    scope: NET,
    async run(c) {
      const queue = await control(c, VQ_NOTF_COAL);
      const ack = await command(c, queue, CLASS, VQ_SET, parameters(index, 1, 1));
      c.equal("ack of VQ_SET", ack, ACK.ERR);
      c.equal("ack of VQ_GET", (await ask(c, queue, index))[0], ACK.ERR);
    },
  }),
);

/** How network devices hold interrupts back. */
export const NET_COALESCING_CHECKS: readonly Check[] = [...accepted, ...queues, ...refused];
