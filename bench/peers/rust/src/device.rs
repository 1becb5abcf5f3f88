//! The least device that `virtio-drivers` can talk to: it answers while it is notified, in the caller's
//! thread, and checks nothing.

use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::ptr::{copy_nonoverlapping, NonNull};
use std::sync::atomic::{fence, Ordering};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Error, Hal, PhysAddr, Result, PAGE_SIZE};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const VERSION_1: u64 = 1 << 32;
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Memory whose device addresses are the process's own.
pub struct HostHal;

// SAFETY: Pages come zeroed from the allocator, and an address is where the device finds the bytes.
unsafe impl Hal for HostHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a layout");
        let at = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
        (at.as_ptr() as PhysAddr, at)
    }
    unsafe fn dma_dealloc(_: PhysAddr, at: NonNull<u8>, pages: usize) -> i32 {
        let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a layout");
        dealloc(at.as_ptr(), layout);
        0
    }
    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(address as *mut u8).expect("an address")
    }
    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr() as *mut u8 as PhysAddr
    }
    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

#[derive(Clone, Copy, Default)]
struct Ring {
    size: u16,
    descriptors: usize,
    available: usize,
    used: usize,
    taken: u16,
    returned: u16,
}

impl Ring {
    /// The head of the next chain.
    fn pop(&mut self) -> Option<u16> {
        let available = self.available as *const u16;
        // SAFETY: The driver set the ring up before it notifies.
        let index = unsafe { available.add(1).read_volatile() };
        if index == self.taken {
            return None;
        }
        fence(Ordering::Acquire);
        let at = 2 + (self.taken % self.size) as usize;
        self.taken = self.taken.wrapping_add(1);
        // SAFETY: As above.
        Some(unsafe { available.add(at).read() })
    }

    fn descriptor(&self, index: u16) -> Descriptor {
        // SAFETY: The driver is the library under test, whose indices are right.
        unsafe {
            (self.descriptors as *const Descriptor)
                .add(index as usize)
                .read()
        }
    }

    fn push(&mut self, head: u16, length: u32) {
        let used = self.used as *mut u32;
        let at = 1 + 2 * (self.returned % self.size) as usize;
        self.returned = self.returned.wrapping_add(1);
        // SAFETY: As above.
        unsafe {
            used.add(at).write(head as u32);
            used.add(at + 1).write(length);
            fence(Ordering::Release);
            (self.used as *mut u16).add(1).write_volatile(self.returned);
        }
    }
}

/// What the device is.
pub enum Kind {
    Blk(Vec<u8>),
    Rng,
    /// Sends every frame back.
    Net,
}

/// The transport and the device behind it.
pub struct Fake {
    kind: Kind,
    status: DeviceStatus,
    rings: [Ring; 2],
}

impl Fake {
    pub fn new(kind: Kind) -> Self {
        Fake {
            kind,
            status: DeviceStatus::empty(),
            rings: Default::default(),
        }
    }

    fn blk(&mut self) {
        let Kind::Blk(disk) = &self.kind else { return };
        let ring = &mut self.rings[0];
        while let Some(head) = ring.pop() {
            let header = ring.descriptor(head);
            let data = ring.descriptor(header.next);
            let status = ring.descriptor(data.next);
            // SAFETY: The addresses are those of the driver's buffers, and the sector is on the disk.
            unsafe {
                let sector = ((header.address + 8) as *const u64).read_unaligned();
                let from = disk.as_ptr().add(sector as usize * 512);
                copy_nonoverlapping(from, data.address as *mut u8, data.length as usize);
                (status.address as *mut u8).write(0);
            }
            ring.push(head, data.length + 1);
        }
    }

    fn rng(&mut self) {
        let ring = &mut self.rings[0];
        while let Some(head) = ring.pop() {
            let data = ring.descriptor(head);
            // SAFETY: The driver's buffer.
            unsafe { (data.address as *mut u8).write_bytes(0xa5, data.length as usize) };
            ring.push(head, data.length);
        }
    }

    /// Copies each frame that was sent to the next buffer for a received one.
    fn net(&mut self) {
        let [receive, send] = &mut self.rings;
        while let Some(head) = send.pop() {
            let into = receive.pop().expect("room for a frame");
            let (mut from, to) = (send.descriptor(head), receive.descriptor(into));
            let mut length = 0;
            loop {
                // SAFETY: The driver's buffers; frames of the bench are shorter than those to receive.
                unsafe {
                    let at = (to.address as *mut u8).add(length as usize);
                    copy_nonoverlapping(from.address as *const u8, at, from.length as usize);
                }
                length += from.length;
                if from.flags & NEXT == 0 {
                    break;
                }
                from = send.descriptor(from.next);
            }
            assert!(to.flags & (WRITE | NEXT) == WRITE, "one buffer a frame");
            receive.push(into, length);
            send.push(head, 0);
        }
    }
}

impl Transport for Fake {
    fn device_type(&self) -> DeviceType {
        match self.kind {
            Kind::Blk(_) => DeviceType::Block,
            Kind::Rng => DeviceType::EntropySource,
            Kind::Net => DeviceType::Network,
        }
    }
    fn read_device_features(&mut self) -> u64 {
        VERSION_1
    }
    fn write_driver_features(&mut self, _: u64) {}
    fn max_queue_size(&mut self, _: u16) -> u32 {
        1024
    }
    fn notify(&mut self, queue: u16) {
        match self.kind {
            Kind::Blk(_) => self.blk(),
            Kind::Rng => self.rng(),
            Kind::Net if queue == 1 => self.net(),
            Kind::Net => {}
        }
    }
    fn get_status(&self) -> DeviceStatus {
        self.status
    }
    fn set_status(&mut self, status: DeviceStatus) {
        self.status = status;
    }
    fn set_guest_page_size(&mut self, _: u32) {}
    fn requires_legacy_layout(&self) -> bool {
        false
    }
    fn queue_set(&mut self, queue: u16, size: u32, descriptors: u64, driver: u64, device: u64) {
        self.rings[queue as usize] = Ring {
            size: size as u16,
            descriptors: descriptors as usize,
            available: driver as usize,
            used: device as usize,
            ..Ring::default()
        };
    }
    fn queue_unset(&mut self, queue: u16) {
        self.rings[queue as usize] = Ring::default();
    }
    fn queue_used(&mut self, queue: u16) -> bool {
        self.rings[queue as usize].size != 0
    }
    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::QUEUE_INTERRUPT
    }
    fn read_config_generation(&self) -> u32 {
        0
    }
    /// The disk's size in sectors, or an address with every bit of a locally administered one.
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let mut bytes = [0u8; 64];
        match &self.kind {
            Kind::Blk(disk) => bytes[..8].copy_from_slice(&(disk.len() as u64 / 512).to_le_bytes()),
            Kind::Rng => {}
            Kind::Net => bytes[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]),
        }
        let end = offset + size_of::<T>();
        T::read_from_bytes(bytes.get(offset..end).ok_or(Error::ConfigSpaceTooSmall)?)
            .map_err(|_| Error::ConfigSpaceTooSmall)
    }
    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
        Ok(())
    }
}
