//! The Rust peers: answers each line `WORK COUNT` of standard input with nanoseconds per operation.
//!
//! `virtio-drivers` drives a device in the same thread, which answers while it is notified;
//! `virtio-queue` is the device's half of a ring whose driver's half is bare stores.

mod device;
mod queue;

use device::{Fake, HostHal, Kind};
use std::io::{stdin, stdout, BufRead, Write};
use std::time::Instant;
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::device::net::{TxBuffer, VirtIONet, VirtIONetRaw};
use virtio_drivers::device::rng::VirtIORng;

const DISK: usize = 256 << 20;
const NET_QUEUE: usize = 256;
const BATCH: usize = 128;
/// Bytes of the header before each frame.
const NET_HEADER: usize = 12;

struct Peers {
    blk: VirtIOBlk<HostHal, Fake>,
    rng: VirtIORng<HostHal, Fake>,
    net: VirtIONet<HostHal, Fake, NET_QUEUE>,
    raw: VirtIONetRaw<HostHal, Fake, NET_QUEUE>,
    queue: queue::Rig,
    seed: u32,
}

impl Peers {
    fn new() -> Self {
        Peers {
            blk: VirtIOBlk::new(Fake::new(Kind::Blk(vec![0x5a; DISK]))).expect("the disk"),
            rng: VirtIORng::new(Fake::new(Kind::Rng)).expect("the entropy device"),
            net: VirtIONet::new(Fake::new(Kind::Net), 2048).expect("the network device"),
            raw: VirtIONetRaw::new(Fake::new(Kind::Net)).expect("the raw device"),
            queue: queue::Rig::new(),
            seed: 1,
        }
    }

    /// The same random sectors as ours.
    fn sector(&mut self) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        (self.seed as usize % (DISK / 4096)) * 8
    }

    fn run(&mut self, work: &str, count: usize) -> bool {
        match work {
            "blk-1" => self.blk_one(count),
            "blk-32" | "blk-batch-32" => self.blk_many(count),
            "rng-64" => self.rng(count, 64),
            "rng-4096" => self.rng(count, 4096),
            "net-1" | "net-callback-1" => self.net_one(count),
            "net-batch-128" => self.net_batch(count),
            "device-1" => self.queue.run(1, count),
            "device-64" => self.queue.run(64, count),
            _ => return false,
        }
        true
    }

    fn blk_one(&mut self, count: usize) {
        let mut data = [0u8; 4096];
        for _ in 0..count {
            let sector = self.sector();
            self.blk.read_blocks(sector, &mut data).expect("a read");
        }
    }

    fn blk_many(&mut self, count: usize) {
        // The driver's queue has 16 descriptors, and a request three.
        const FIT: usize = 16 / 3;
        let mut data = vec![[0u8; 4096]; FIT];
        let mut requests: Vec<BlkReq> = (0..FIT).map(|_| BlkReq::default()).collect();
        let mut answers: Vec<BlkResp> = (0..FIT).map(|_| BlkResp::default()).collect();
        let mut tokens = [0u16; FIT];
        let mut done = 0;
        while done < count {
            for i in 0..FIT {
                let sector = self.sector();
                // SAFETY: All three live until the request is completed below.
                tokens[i] = unsafe {
                    self.blk
                        .read_blocks_nb(sector, &mut requests[i], &mut data[i], &mut answers[i])
                }
                .expect("a request");
            }
            for i in 0..FIT {
                // SAFETY: They are those that were passed above.
                unsafe {
                    self.blk.complete_read_blocks(
                        tokens[i],
                        &requests[i],
                        &mut data[i],
                        &mut answers[i],
                    )
                }
                .expect("an answer");
            }
            done += FIT;
        }
    }

    fn rng(&mut self, count: usize, length: usize) {
        let mut data = vec![0u8; length];
        for _ in 0..count {
            assert_eq!(self.rng.request_entropy(&mut data), Ok(length));
        }
    }

    fn net_one(&mut self, count: usize) {
        let frame = [0x11u8; 64];
        for _ in 0..count {
            self.net.send(TxBuffer::from(&frame)).expect("a frame sent");
            let received = self.net.receive().expect("a frame received");
            assert_eq!(received.packet_len(), 64);
            self.net
                .recycle_rx_buffer(received)
                .expect("a buffer given back");
        }
    }

    fn net_batch(&mut self, count: usize) {
        let mut out = vec![[0u8; NET_HEADER + 64]; BATCH];
        let mut into = vec![[0u8; 2048]; BATCH];
        let mut sent = [0u16; BATCH];
        let mut wanted = [0u16; BATCH];
        let mut done = 0;
        while done < count {
            for i in 0..BATCH {
                // SAFETY: The buffers live until they are completed below.
                wanted[i] = unsafe { self.raw.receive_begin(&mut into[i]) }.expect("room");
            }
            for i in 0..BATCH {
                self.raw.fill_buffer_header(&mut out[i]).expect("a header");
                // SAFETY: As above.
                sent[i] = unsafe { self.raw.transmit_begin(&out[i]) }.expect("a frame sent");
            }
            for i in 0..BATCH {
                // SAFETY: They are those that were begun above.
                unsafe { self.raw.transmit_complete(sent[i], &out[i]) }.expect("a frame done");
                let (_, length) = unsafe { self.raw.receive_complete(wanted[i], &mut into[i]) }
                    .expect("a frame received");
                assert_eq!(length, 64);
            }
            done += BATCH;
        }
    }
}

fn main() {
    let mut peers = Peers::new();
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        let (work, count) = line.split_once(' ').expect("a work and a count");
        let count: usize = count.parse().expect("a count");
        let begin = Instant::now();
        let known = peers.run(work, count);
        let each = begin.elapsed().as_nanos() as f64 / count as f64;
        println!("{}", if known { each } else { -1.0 });
        stdout().flush().expect("an output");
    }
}
