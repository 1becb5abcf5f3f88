//! The device's half of the split ring as `virtio-queue` has it; the driver's half is bare stores, and
//! the same for each peer.

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SIZE: u16 = 256;
const DESCRIPTORS: u64 = 0;
const AVAILABLE: u64 = 4096;
const USED: u64 = 8192;
const BUFFERS: u64 = 32768;
const LENGTH: u32 = 64;

/// A queue and its memory.
pub struct Rig {
    memory: GuestMemoryMmap,
    queue: Queue,
    next: u16,
}

impl Rig {
    pub fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 16)]).expect("memory");
        for i in 0..SIZE as u64 {
            let at = DESCRIPTORS + 16 * i;
            let write: u16 = 2;
            memory
                .write_obj(BUFFERS + 64 * i, GuestAddress(at))
                .expect("an address");
            memory
                .write_obj(LENGTH, GuestAddress(at + 8))
                .expect("a length");
            memory
                .write_obj(write, GuestAddress(at + 12))
                .expect("flags");
            memory
                .write_obj(i as u16, GuestAddress(AVAILABLE + 4 + 2 * i))
                .expect("an entry");
        }
        let mut queue = Queue::new(SIZE).expect("a queue");
        queue.set_desc_table_address(Some(DESCRIPTORS as u32), Some(0));
        queue.set_avail_ring_address(Some(AVAILABLE as u32), Some(0));
        queue.set_used_ring_address(Some(USED as u32), Some(0));
        queue.set_ready(true);
        Rig {
            memory,
            queue,
            next: 0,
        }
    }

    pub fn run(&mut self, batch: u16, count: usize) {
        let memory = &self.memory;
        let mut done = 0;
        while done < count {
            self.next = self.next.wrapping_add(batch);
            memory
                .write_obj(self.next, GuestAddress(AVAILABLE + 2))
                .expect("an index");
            while let Some(chain) = self.queue.pop_descriptor_chain(memory) {
                let head = chain.head_index();
                let length = chain.map(|descriptor| descriptor.len()).sum();
                self.queue
                    .add_used(memory, head, length)
                    .expect("a used entry");
            }
            self.queue.needs_notification(memory).expect("an answer");
            done += batch as usize;
        }
    }
}
