/* A front end of vhost-user with a driver of one split queue: as little as serves a disk or an entropy device.
 *
 * front_end SOCKET blk|rng BYTES DEPTH COUNT [SECTORS]
 *
 * It prints a line of JSON: `op`, nanoseconds of one operation on average; `median`, from a kick to the answer, at
 * depth 1; and of an entropy device that writes CLOCK_MONOTONIC into its answer, the medians from the kick to the
 * device and from there to the driver. It sleeps in poll() while nothing is done, as our driver does. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SIZE 128u
#define MEMORY (64u << 20)
#define GUEST 0x100000000ull
#define AVAIL 0x1000u
#define USED 0x2000u
#define HEADERS 0x3000u
#define BUFFERS 0x10000u

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct used_entry { uint32_t id, len; };

static uint8_t *memory;
static int sock;

static void die(const char *what) { perror(what); exit(1); }

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void tell(uint32_t request, const void *payload, uint32_t size, int fd) {
  uint8_t bytes[64];
  uint32_t header[3] = {request, 1, size};
  memcpy(bytes, header, 12);
  if (size > 0) memcpy(bytes + 12, payload, size);
  struct iovec io = {bytes, 12 + size};
  union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
  struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  if (sendmsg(sock, &message, 0) != (ssize_t)(12 + size)) die("sendmsg");
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *values, unsigned count) {
  qsort(values, count, sizeof *values, compare);
  return values[count / 2];
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  int blk = strcmp(argv[2], "blk") == 0;
  uint32_t bytes = (uint32_t)atoi(argv[3]);
  unsigned depth = (unsigned)atoi(argv[4]), count = (unsigned)atoi(argv[5]);
  uint64_t sectors = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strncpy(name.sun_path, argv[1], sizeof name.sun_path - 1);
  sock = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(sock, (struct sockaddr *)&name, sizeof name) < 0) die("connect");
  int fd = memfd_create("front-end", 0);
  if (ftruncate(fd, MEMORY) < 0) die("ftruncate");
  memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) die("mmap");
  int kick = eventfd(0, 0), call = eventfd(0, EFD_NONBLOCK);

  uint8_t answer[20];
  tell(1, NULL, 0, -1); /* GET_FEATURES */
  if (recv(sock, answer, 20, MSG_WAITALL) != 20) die("recv");
  tell(3, NULL, 0, -1); /* SET_OWNER */
  /* VERSION_1, and protocol features, none of which is used: then a queue is enabled by a message. */
  uint64_t features = 1ull << 32 | 1ull << 30, protocol = 0;
  tell(15, NULL, 0, -1);
  if (recv(sock, answer, 20, MSG_WAITALL) != 20) die("recv");
  tell(16, &protocol, 8, -1);
  tell(2, &features, 8, -1);
  uint64_t table[5] = {1, GUEST, MEMORY, (uint64_t)(uintptr_t)memory, 0};
  tell(5, table, 40, fd); /* SET_MEM_TABLE */
  uint32_t num[2] = {0, SIZE}, base[2] = {0, 0};
  tell(8, num, 8, -1);
  tell(10, base, 8, -1);
  uint64_t addresses[5] = {0, (uint64_t)(uintptr_t)memory, (uint64_t)(uintptr_t)(memory + USED),
                           (uint64_t)(uintptr_t)(memory + AVAIL), 0};
  tell(9, addresses, 40, -1);
  uint64_t queue = 0;
  tell(13, &queue, 8, call);
  tell(12, &queue, 8, kick);
  uint32_t enable[2] = {0, 1};
  tell(18, enable, 8, -1);

  struct desc *descs = (struct desc *)memory;
  _Atomic uint16_t *avail = (_Atomic uint16_t *)(memory + AVAIL);
  _Atomic uint16_t *used = (_Atomic uint16_t *)(memory + USED);
  struct used_entry *entries = (struct used_entry *)(memory + USED + 4);
  unsigned parts = blk ? 3 : 1, slots = SIZE / parts;
  if (depth > slots || (uint64_t)depth * bytes > MEMORY - BUFFERS) return 2;
  for (unsigned i = 0; i < depth; i++) {
    struct desc *d = descs + i * parts;
    uint64_t header = GUEST + HEADERS + 32 * i, data = GUEST + BUFFERS + (uint64_t)i * bytes;
    if (!blk) {
      d[0] = (struct desc){data, bytes, 2, 0};
      continue;
    }
    d[0] = (struct desc){header, 16, 1, (uint16_t)(i * parts + 1)};
    d[1] = (struct desc){data, bytes, 3, (uint16_t)(i * parts + 2)};
    d[2] = (struct desc){header + 16, 1, 2, 0};
  }
  uint64_t *times = malloc(count * 8), *there = malloc(count * 8), *back = malloc(count * 8);
  uint16_t next = 0, seen = 0;
  unsigned added = 0, done = 0, late = 0;
  uint64_t seed = 88172645463325252ull, sent = 0, one = 1, drain;
  uint64_t chunk = bytes / 512, places = blk ? sectors / chunk : 1;
  uint8_t wrong = 0;
  uint64_t began = now();
#define ADD(i)                                                                      \
  do {                                                                              \
    if (blk) {                                                                      \
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;                    \
      uint64_t header[2] = {0, seed % places * chunk};                              \
      memcpy(memory + HEADERS + 32 * (i), header, 16);                              \
      memory[HEADERS + 32 * (i) + 16] = 0xff;                                       \
    }                                                                               \
    atomic_store_explicit(avail + 2 + next % SIZE, (uint16_t)((i) * parts), memory_order_relaxed); \
    next++, added++;                                                                \
  } while (0)
  for (unsigned i = 0; i < depth && added < count; i++) ADD(i);
  for (;;) {
    atomic_store(avail + 1, next);
    sent = now();
    if ((atomic_load(used) & 1) == 0 && write(kick, &one, 8) != 8) die("write");
    while (atomic_load(used + 1) == seen) {
      struct pollfd wait = {call, POLLIN, 0};
      /* vhost-device-rng 0.1 takes a first kick before its queue is ready, and forgets it, now and then. */
      if (poll(&wait, 1, 200) > 0) {
        if (read(call, &drain, 8) < 0) drain = 0;
        continue;
      }
      if (++late > 50) {
        fprintf(stderr, "%s: nothing after 10 s, %u of %u done\n", argv[1], done, count);
        return 4;
      }
      if (write(kick, &one, 8) != 8) die("write");
    }
    uint64_t got = now();
    while (atomic_load(used + 1) != seen) {
      unsigned slot = entries[seen++ % SIZE].id / parts;
      if (blk) wrong |= memory[HEADERS + 32 * slot + 16];
      uint64_t stamp;
      memcpy(&stamp, memory + BUFFERS + (uint64_t)slot * bytes, 8);
      times[done] = got - sent, there[done] = stamp - sent, back[done] = got - stamp;
      done++;
      if (added < count) ADD(slot);
    }
    if (done == count) break;
  }
  uint64_t took = now() - began;
  if (wrong) return 3;
  printf("{\"op\":%.1f", (double)took / count);
  if (depth == 1) printf(",\"median\":%llu", (unsigned long long)median(times, count));
  if (depth == 1 && !blk)
    printf(",\"there\":%llu,\"back\":%llu", (unsigned long long)median(there, count),
           (unsigned long long)median(back, count));
  printf("}\n");
  return 0;
}
