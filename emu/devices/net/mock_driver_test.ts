import { assert, assertEquals } from "@std/assert";
import { Hub } from "../../backends/hub.ts";
import { HostPeer } from "../../backends/wire.ts";
import { EmulatedMachine } from "../../machine.ts";
import { MockDriver } from "../../testing/mock_driver.ts";
import { NetDevice } from "./device.ts";

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
}

const ARP = bytes(
  "ffffffffffff 525400123456 0806 0001 0800 06 04 0001 525400123456 0a00020f 000000000000 0a000202",
);
const REPLY = bytes(
  "525400123456 52550a000202 0806 0001 0800 06 04 0002 52550a000202 0a000202 525400123456 0a00020f",
);

for (const version of [1, 2] as const) {
  Deno.test(`net device: a mock driver asks by ARP, version ${version}`, async () => {
    const hub = new Hub();
    using _peer = new HostPeer(hub.port(), { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" });
    const model = new NetDevice({ backend: hub.port() });
    await using machine = EmulatedMachine.create({ devices: [{ model, version }] });
    const driver = new MockDriver(machine);
    driver.init();
    assertEquals([...driver.config(0, 8)], [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0]);
    const rx = driver.queues[0]!;
    const received = rx.add([{ write: 2000 }]);
    rx.kick();
    // MRG_RXBUF is accepted, so the header has 12 bytes with either version.
    const sent = await driver.request(1, [{ read: new Uint8Array(12) }, { read: ARP }]);
    assertEquals(sent.written, 0);
    const used = await driver.until(received);
    assertEquals(used.written, 12 + 42);
    const written = used.bytes[0]!;
    assertEquals([...written.subarray(0, 12)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assertEquals(written.subarray(12, 54), REPLY);
    assertEquals(machine.violations(), []);
  });

  Deno.test(`net device: a mock driver's commands and faults, version ${version}`, async () => {
    const model = new NetDevice({ backend: new Hub().port() });
    await using machine = EmulatedMachine.create({ devices: [{ model, version }] });
    const driver = new MockDriver(machine);
    driver.init();
    const on = await driver.request(2, [{ read: Uint8Array.of(0, 0, 1) }, { write: 1 }]);
    assertEquals([on.written, on.bytes[0]![0]], [1, 0]);
    assert(model.filter.snapshot().modes[0]);
    const bad = await driver.request(2, [{ read: Uint8Array.of(77, 0, 1) }, { write: 1 }]);
    assertEquals(bad.bytes[0]![0], 1);
    const tx = driver.queues[1]!;
    void tx.add([{ read: new Uint8Array(5) }]);
    tx.kick();
    assertEquals(driver.needsReset || version === 1, true);
    assertEquals(machine.violations().length, 1);
  });
}
