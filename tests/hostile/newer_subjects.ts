/**
 * Drivers in uses that only some devices have, for the fuzzer: zoned disks, receive steering, chains and ECDSA, the
 * long forms of SCSI, special files of 9P, and sequenced packets.
 *
 * @module
 */
import {
  BlkDevice,
  CryptoDevice,
  Hub,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  P9Device,
  ScsiDevice,
  VsockDevice,
} from "@vireo/emu";
import {
  CryptoCipher,
  CryptoCurve,
  CryptoKeyType,
  CryptoMac,
  NetFeature,
  P9OpenFlag,
  VsockRecord,
  VsockType,
} from "@vireo/hal";
import { blkDriver } from "../../drivers/blk/mod.ts";
import { cryptoDriver } from "../../drivers/crypto/mod.ts";
import { createNetDriver, type Net } from "../../drivers/net/mod.ts";
import { p9Driver } from "../../drivers/p9/mod.ts";
import { scsiDriver } from "../../drivers/scsi/mod.ts";
import { type Vsock, type VsockConnection, vsockDriver } from "../../drivers/vsock/mod.ts";
import { waitOn, type WaitOptions } from "../../drivers/wait/mod.ts";
import { check, pattern, same, type Subject, subject } from "./subjects.ts";

const KEY = pattern(16);
const IV = pattern(16, 9);
const ZONE = 64;
/** P-192's private key of RFC 6979 §A.2.3, as an `ECPrivateKey`, and its point. */
const PRIVATE = Uint8Array.fromHex(
  "301d02010104186fab034934e4c0fc9ae67f5b5659a9d7d1fefd187ee09fd4",
);
const PUBLIC = Uint8Array.fromHex(
  "04ac2c77f529f91689fea0ea5efec7f210d8eea0b9e047ed563bc723e57670bd4887ebc732c523063d0a7c957bc97c1c43",
);
const curve = CryptoCurve.NIST_P192;
const SIGNING = { type: CryptoKeyType.PRIVATE, curve, bytes: PRIVATE };
const VERIFYING = { type: CryptoKeyType.PUBLIC, curve, bytes: PUBLIC };
const CHAIN = {
  cipher: { algo: CryptoCipher.AES_CBC, key: KEY },
  mac: { algo: CryptoMac.HMAC_SHA_256, key: pattern(20) },
};
const UNITS = { target: 0, disk: new MemoryDisk(1 << 20) };

/** Sends messages, the second of which ends a record, and expects them back. */
async function echo(connection: VsockConnection, limits: WaitOptions): Promise<void> {
  const writer = connection.writable.getWriter();
  const reader = connection.readable.getReader();
  for (const message of [pattern(5000), new VsockRecord(pattern(100, 3))]) {
    const answer = writer.write(message).then(() => reader.read());
    const { value } = await waitOn(answer, { what: "the echo" }, limits);
    check(value !== undefined && same(value, message), "the echo");
    check(value instanceof VsockRecord === message instanceof VsockRecord, "the end of a record");
  }
}
const connect = (vsock: Vsock, limits: WaitOptions) =>
  vsock.connect(7, { ...limits, type: VsockType.SEQPACKET });

async function steer(net: Net, limits: WaitOptions): Promise<void> {
  // A device may say that it has one pair.
  const pairs = Math.min(2, net.maxQueuePairs);
  const queue = pairs - 1;
  if (net.device.has(NetFeature.RSS)) await net.setRss({ ...limits, pairs, table: [0, queue] });
  if (net.device.has(NetFeature.HASH_REPORT)) await net.setHash({ ...limits, key: pattern(40) });
  if (!net.device.has(NetFeature.NOTF_COAL)) return;
  await net.setCoalescing("rx", { ...limits, maxPackets: 3, maxUsecs: 50 });
  if (!net.device.has(NetFeature.VQ_NOTF_COAL)) return;
  await net.setCoalescing("tx", { ...limits, maxPackets: 5, maxUsecs: 9, queue });
  const { maxPackets, maxUsecs } = await net.coalescing("tx", queue, limits);
  check(maxPackets === 5 && maxUsecs === 9, "what was set");
}

/** Those uses. */
export const NEWER_SUBJECTS: readonly Subject[] = [
  subject({
    name: "blk-zoned",
    driver: blkDriver,
    model: () =>
      new BlkDevice({
        disk: new MemoryDisk(40 * ZONE * 512),
        zoned: {
          ...{ zoneSectors: ZONE, zoneCapacity: 48, conventional: 1 },
          ...{ maxOpen: 3, maxActive: 5, maxAppendSectors: 16 },
        },
      }),
    async use(blk, limits) {
      await blk.write(1, pattern(512), limits);
      check(same(await blk.read(1, 512, limits), pattern(512)), "what was written");
      const { zones } = blk;
      // The legacy interface has none.
      if (zones === undefined) return;
      // A lying device may have zones of another size.
      const first = zones.zoned.zoneSectors;
      await zones.reset(first, limits);
      await zones.open(first, limits);
      await blk.write(first, pattern(1024), limits);
      const at = await zones.append(first, pattern(1024, 5), limits);
      check(at === first + 2, "where it was appended");
      check(same(await blk.read(at, 1024, limits), pattern(1024, 5)), "what was appended");
      await zones.close(first, limits);
      const [zone] = await zones.report(first, { ...limits, count: 1 });
      check(zone?.pointer === first + 4, "the write pointer");
      await zones.finish(first, limits);
      await zones.resetAll(limits);
    },
    asks({ zones }) {
      if (zones === undefined) return Promise.resolve({});
      const { zoneSectors } = zones.zoned;
      return Promise.resolve({
        report: (limits) => zones.report(0, limits),
        append: (limits) => zones.append(2 * zoneSectors, pattern(512), limits),
        reset: (limits) => zones.reset(2 * zoneSectors, limits),
        open: (limits) => zones.open(3 * zoneSectors, limits),
      });
    },
  }),
  subject({
    name: "net-steering",
    driver: createNetDriver({ pairs: 2 }),
    model: () =>
      new NetDevice({ backend: new Hub().port(), queuePairs: 2, queueSize: 16, hashReport: true }),
    async use(net, limits) {
      await steer(net, limits);
      await net.send(pattern(60), { ...limits, queue: net.queuePairs - 1 });
    },
    asks: (net) =>
      Promise.resolve({
        steer: (limits) => steer(net, limits),
        pairs: (limits) => net.setPairs(1, limits),
        receive: (limits) => net.receive(limits),
      }),
  }),
  subject({
    name: "scsi-forms",
    driver: scsiDriver,
    model: () => new ScsiDevice({ units: [UNITS] }),
    async use(host, limits) {
      const unit = host.unit(0);
      await unit.ready(limits);
      await unit.writeSame(3, 20, pattern(512), limits);
      check(same(await unit.read(22, 1, { ...limits, form: 12 }), pattern(512)), "the same block");
      await unit.write(30, pattern(1024), { ...limits, form: 12 });
      check(same(await unit.read(30, 2, { ...limits, form: 16 }), pattern(1024)), "the blocks");
      check(!await unit.writeProtected(limits), "it may be written");
      await unit.unmap([{ block: 3, count: 20 }], limits);
      await unit.flush(limits);
    },
    async asks(host, limits) {
      const unit = host.unit(0);
      await unit.ready(limits);
      await unit.capacity(limits);
      return {
        same: (limits) => unit.writeSame(3, 20, pattern(512), limits),
        read: (limits) => unit.read(0, 8, { ...limits, form: 12 }),
        mode: (limits) => unit.writeProtected(limits),
        unmap: (limits) => unit.unmap([{ block: 3, count: 20 }], limits),
      };
    },
  }),
  subject({
    name: "p9-nodes",
    driver: p9Driver,
    model: () => new P9Device({ tree: new MemoryTree({ "a.txt": "see" }) }),
    async use(p9, limits) {
      await using tree = await p9.attach(limits);
      const names = (await tree.list("", limits)).map(({ name }) => name);
      for (const name of ["hard", "pipe"]) {
        if (names.includes(name)) await tree.remove(name, limits);
      }
      await tree.link("a.txt", "hard", limits);
      await tree.mknod("pipe", { ...limits, kind: "fifo" });
      check((await tree.stat("hard", limits)).size === 3, "the link's size");
      await tree.setXattr("a.txt", "user.a", pattern(100), limits);
      check(same(await tree.getXattr("a.txt", "user.a", limits), pattern(100)), "the attribute");
      check((await tree.listXattrs("a.txt", limits)).includes("user.a"), "its name");
      await tree.removeXattr("a.txt", "user.a", limits);
      const file = await tree.open("a.txt", P9OpenFlag.READ_WRITE, limits);
      check(await file.lock({ type: "write", length: 2 }, limits) === "success", "the lock");
      await file.getLock({ type: "read", owner: 1 }, limits);
      await file.lock({ type: "none" }, limits);
      await file.close(limits);
    },
    async asks(p9, limits) {
      const tree = await p9.attach(limits);
      const file = await tree.open("a.txt", P9OpenFlag.READ_WRITE, limits);
      return {
        lock: (limits) => file.lock({ type: "read" }, limits),
        getLock: (limits) => file.getLock({ type: "write" }, limits),
        set: (limits) => tree.setXattr("a.txt", "user.b", pattern(50), limits),
        get: (limits) => tree.getXattr("a.txt", "user.b", limits),
        mknod: (limits) => tree.mknod("block", { ...limits, kind: "block", major: 8 }),
      };
    },
  }),
  subject({
    name: "vsock-messages",
    driver: vsockDriver,
    model: () =>
      new VsockDevice({
        cid: 42,
        host: { connect: () => new TransformStream<Uint8Array, Uint8Array>() },
      }),
    async use(vsock, limits) {
      const connection = await connect(vsock, limits);
      try {
        await echo(connection, limits);
      } finally {
        connection.reset();
      }
    },
    async asks(vsock, limits) {
      const connection = await connect(vsock, limits);
      return {
        connect: (limits) => connect(vsock, limits),
        echo: (limits) => {
          if (connection.readable.locked) return Promise.resolve();
          return echo(connection, limits);
        },
      };
    },
  }),
  subject({
    name: "crypto-chains",
    driver: cryptoDriver,
    model: () => new CryptoDevice({ queues: 2 }),
    async use(crypto, limits) {
      const chain = await crypto.chain(CHAIN, limits);
      try {
        const { text, digest } = await chain.encrypt(IV, pattern(64), limits);
        check(same(await chain.decrypt(IV, text, digest, limits), pattern(64)), "the text");
      } finally {
        await chain.close(limits);
      }
      const signing = await crypto.ecdsa(SIGNING, limits);
      try {
        const signature = await signing.sign(pattern(24), limits);
        check(signature[0] === 0x30, "a signature");
      } finally {
        await signing.close(limits);
      }
    },
    async asks(crypto, limits) {
      const chain = await crypto.chain(CHAIN, limits);
      const verifying = await crypto.ecdsa(VERIFYING, limits);
      return {
        chain: (limits) => crypto.chain(CHAIN, limits),
        encrypt: (limits) => chain.encrypt(IV, pattern(64), limits),
        ecdsa: (limits) => crypto.ecdsa(SIGNING, limits),
        verify: (limits) => verifying.verify(pattern(56), pattern(24), limits),
      };
    },
  }),
];
