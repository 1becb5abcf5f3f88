/*
 * Register accesses and system calls that JavaScript cannot express. Each access is exactly one volatile
 * load or store of its width; each call that can fail returns -errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * Order between registers and memory that the device reaches, as in Linux's readl and writel: when the
 * device sees a register write, it sees all earlier stores to memory, and memory loads after a register
 * read stay after it. x86_64 orders uncached accesses by itself, so only the compiler needs a barrier.
 */
#if defined(__aarch64__)
#define BEFORE_WRITE() __asm__ volatile("dmb oshst" ::: "memory")
#define AFTER_READ() __asm__ volatile("dmb oshld" ::: "memory")
#define FULL_BARRIER() __asm__ volatile("dmb osh" ::: "memory")
#elif defined(__x86_64__)
#define BEFORE_WRITE() __asm__ volatile("" ::: "memory")
#define AFTER_READ() __asm__ volatile("" ::: "memory")
#define FULL_BARRIER() __asm__ volatile("mfence" ::: "memory")
#else
#error "Vireo's shim knows x86_64 and aarch64 only"
#endif

/* Changes with the functions below, so that the loader notices a stale library. */
uint32_t vireo_shim_version(void) { return 4; }

#define REGISTER_ACCESS(bits)                                                                \
  uint##bits##_t vireo_read##bits(const void *base, uint32_t offset) {                       \
    uint##bits##_t value =                                                                   \
        *(const volatile uint##bits##_t *)(const void *)((const char *)base + offset);       \
    AFTER_READ();                                                                            \
    return value;                                                                            \
  }                                                                                          \
  void vireo_write##bits(void *base, uint32_t offset, uint##bits##_t value) {                \
    BEFORE_WRITE();                                                                          \
    *(volatile uint##bits##_t *)(void *)((char *)base + offset) = value;                     \
  }

REGISTER_ACCESS(8)
REGISTER_ACCESS(16)
REGISTER_ACCESS(32)
REGISTER_ACCESS(64)

/* The barriers that a ring needs where no register access orders its memory: virtio 1.4 §2.7.13. */
void vireo_mb(void) { FULL_BARRIER(); }
void vireo_rmb(void) { AFTER_READ(); }
void vireo_wmb(void) { BEFORE_WRITE(); }

/* The processor's time stamp counter; on x86_64 a guest under QEMU's TCG sees the same one. */
uint64_t vireo_ticks(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  uint64_t ticks;
  __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#endif
}

/*
 * Sleeps for about 20 us, in which other threads run: under QEMU's TCG the thread that emulates the
 * device. By default Linux adds up to 50 us to a sleep, so that one wake-up serves several.
 */
void vireo_relax(void) {
  static __thread int exact;
  if (!exact) exact = prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) == 0;
  nanosleep(&(struct timespec){0, 20000}, NULL);
}

/* Opens physical memory; O_SYNC asks for an uncached mapping. Returns a descriptor or -errno. */
int32_t vireo_open_mem(const char *path) {
  int fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int32_t vireo_close(int32_t fd) { return close(fd) < 0 ? -errno : 0; }

static int64_t address_or_errno(void *address) {
  return address == MAP_FAILED ? -(int64_t)errno : (int64_t)(intptr_t)address;
}

/*
 * The windows of registers. When Linux removes a PCI function it takes the pages of its windows away, and an
 * access is a SIGBUS. On the bus, reads of a function that is gone are all ones and writes are lost, so the
 * handler puts memory with ones in the window's place. More windows than these are not looked after.
 */
static struct {
  _Atomic uintptr_t start;
  _Atomic uintptr_t end;
} windows[256];
static const size_t window_count = sizeof windows / sizeof windows[0];
static struct sigaction before;

static void on_bus_error(int number, siginfo_t *info, void *context) {
  uintptr_t at = (uintptr_t)info->si_addr;
  int saved = errno;
  for (size_t i = 0; info->si_code == BUS_ADRERR && i < window_count; i++) {
    uintptr_t start = windows[i].start, end = windows[i].end;
    if (at < start || at >= end) continue;
    void *ones = mmap((void *)start, end - start, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (ones == MAP_FAILED) break;
    memset(ones, 0xff, end - start);
    errno = saved;
    return;
  }
  errno = saved;
  if ((before.sa_flags & SA_SIGINFO) != 0) before.sa_sigaction(number, info, context);
  else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) sigaction(number, &before, NULL);
  else before.sa_handler(number);
}

__attribute__((constructor)) static void watch_windows(void) {
  struct sigaction ours = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGBUS, &ours, &before);
}

__attribute__((destructor)) static void leave_windows(void) {
  struct sigaction now;
  if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction == on_bus_error)
    sigaction(SIGBUS, &before, NULL);
}

/* Maps a page-aligned physical range. Returns an address or -errno. */
int64_t vireo_map(int32_t fd, uint64_t physical, uint64_t length) {
  void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)physical);
  for (size_t i = 0; address != MAP_FAILED && i < window_count; i++) {
    uintptr_t none = 0;
    if (!atomic_compare_exchange_strong(&windows[i].start, &none, (uintptr_t)address)) continue;
    windows[i].end = (uintptr_t)address + length;
    break;
  }
  return address_or_errno(address);
}

/*
 * Maps zeroed hugepages that keep their physical addresses. The mapping is shared and not inherited: a
 * private one would be copied, and change its addresses, when the process writes after a fork.
 */
int64_t vireo_map_huge(uint64_t length) {
  void *address = mmap(NULL, length, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (address == MAP_FAILED) return -(int64_t)errno;
  if (madvise(address, length, MADV_DONTFORK) < 0) {
    int64_t error = -(int64_t)errno;
    munmap(address, length);
    return error;
  }
  return (int64_t)(intptr_t)address;
}

/* Has the kernel fill and lock pages that were reserved. Returns 0 or -errno. */
int32_t vireo_lock(void *address, uint64_t length) {
  return mlock(address, length) < 0 ? -errno : 0;
}

int32_t vireo_unmap(void *address, uint64_t length) {
  for (size_t i = 0; i < window_count; i++) {
    if (windows[i].start != (uintptr_t)address) continue;
    windows[i].end = 0;
    windows[i].start = 0;
  }
  return munmap(address, length) < 0 ? -errno : 0;
}

/* Makes an event that another thread can wait for. Returns a descriptor or -errno. */
int32_t vireo_event(void) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

int32_t vireo_signal(int32_t event) {
  return write(event, &(uint64_t){1}, sizeof(uint64_t)) < 0 ? -errno : 0;
}

/*
 * Waits for an interrupt of a UIO device or for an event, and takes it; blocks the calling thread.
 * Returns 1 for an interrupt, 0 for the event, or -errno.
 */
int32_t vireo_wait_interrupt(int32_t device, int32_t event) {
  struct pollfd fds[2] = {{device, POLLIN, 0}, {event, POLLIN, 0}};
  uint64_t events;
  uint32_t interrupts;
  while (poll(fds, 2, -1) < 0)
    if (errno != EINTR) return -errno;
  if (fds[1].revents != 0) {
    if (read(event, &events, sizeof events) < 0 && errno != EAGAIN) return -errno;
    return 0;
  }
  return read(device, &interrupts, sizeof interrupts) < 0 ? -errno : 1;
}

/* Loads a kernel module. Returns 0 or -errno. */
int32_t vireo_load_module(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int32_t result = syscall(SYS_finit_module, fd, "", 0) < 0 ? -errno : 0;
  close(fd);
  return result;
}
