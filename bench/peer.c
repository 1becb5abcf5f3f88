/*
 * Linux's side of bench/guest.ts: loads modules, and measures the kernel's own drivers the way the
 * driver of Vireo is measured. Static, so that the guest needs no library for it.
 *
 *   peer insmod FILE...
 *   peer read DEVICE BYTES DEPTH COUNT SEED SPAN   SEED 0 reads in order
 *   peer ping INTERFACE SOURCE TARGET COUNT
 *
 * Both measurements print one line: nanoseconds in all, then the median and the 99th percentile.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static void print(uint64_t total, uint64_t *times, size_t count) {
  qsort(times, count, sizeof *times, compare);
  printf("%llu %llu %llu\n", (unsigned long long)total, (unsigned long long)times[count / 2],
         (unsigned long long)times[count * 99 / 100]);
}

static int insmod(int count, char **paths) {
  for (int i = 0; i < count; i++) {
    int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)) fail(paths[i]);
    close(fd);
  }
  return 0;
}

/* The same sequence as in guest_program.ts. */
static uint32_t seed;
static uint64_t next_block(uint64_t i, uint64_t blocks) {
  if (seed == 0) return i % blocks;
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % blocks;
}

static int read_blocks(char **args) {
  size_t bytes = strtoul(args[1], NULL, 10), depth = strtoul(args[2], NULL, 10);
  size_t count = strtoul(args[3], NULL, 10);
  seed = (uint32_t)strtoul(args[4], NULL, 10);
  uint64_t blocks = strtoull(args[5], NULL, 10) / bytes;
  int fd = open(args[0], O_RDONLY | O_DIRECT | O_CLOEXEC);
  char *memory;
  uint64_t *times = calloc(count, sizeof *times);
  if (fd < 0) fail(args[0]);
  if (times == NULL || posix_memalign((void **)&memory, 4096, bytes * depth) != 0) fail("memory");
  memset(memory, 1, bytes * depth);
  uint64_t begin = now();
  if (depth == 1) {
    uint64_t before = begin;
    for (size_t i = 0; i < count; i++) {
      off_t offset = (off_t)(next_block(i, blocks) * bytes);
      if (pread(fd, memory, bytes, offset) != (ssize_t)bytes) fail("pread");
      uint64_t after = now();
      times[i] = after - before;
      before = after;
    }
  } else {
    aio_context_t context = 0;
    struct iocb blocks_of[depth], *ready[depth];
    struct io_event events[depth];
    uint64_t starts[depth];
    size_t begun = 0, ended = 0, free_count = depth;
    if (syscall(SYS_io_setup, depth, &context) < 0) fail("io_setup");
    for (size_t i = 0; i < depth; i++) ready[i] = &blocks_of[i];
    while (ended < count) {
      size_t due = free_count < count - begun ? free_count : count - begun;
      for (size_t i = 0; i < due; i++) {
        size_t slot = (size_t)(ready[i] - blocks_of);
        *ready[i] = (struct iocb){
            .aio_data = slot, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)fd,
            .aio_buf = (uint64_t)(uintptr_t)(memory + slot * bytes), .aio_nbytes = bytes,
            .aio_offset = (int64_t)(next_block(begun++, blocks) * bytes)};
        starts[slot] = now();
      }
      for (size_t done = 0; done < due;) {
        long more = syscall(SYS_io_submit, context, due - done, ready + done);
        if (more < 0) fail("io_submit");
        done += (size_t)more;
      }
      free_count -= due;
      if (due > 0 && free_count > 0) memmove(ready, ready + due, free_count * sizeof *ready);
      long got = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
      if (got < 0) fail("io_getevents");
      uint64_t after = now();
      for (long i = 0; i < got; i++) {
        size_t slot = (size_t)events[i].data;
        if (events[i].res != (int64_t)bytes) fail("read");
        times[ended++] = after - starts[slot];
        ready[free_count++] = &blocks_of[slot];
      }
    }
  }
  print(now() - begin, times, count);
  return 0;
}

static void bring_up(const char *name, const char *address) {
  struct ifreq request = {0};
  struct sockaddr_in *in = (struct sockaddr_in *)(void *)&request.ifr_addr;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  in->sin_family = AF_INET;
  inet_pton(AF_INET, address, &in->sin_addr);
  if (fd < 0 || ioctl(fd, SIOCSIFADDR, &request) < 0) fail("SIOCSIFADDR");
  inet_pton(AF_INET, "255.255.255.0", &in->sin_addr);
  if (ioctl(fd, SIOCSIFNETMASK, &request) < 0) fail("SIOCSIFNETMASK");
  if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) fail("SIOCGIFFLAGS");
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  if (ioctl(fd, SIOCSIFFLAGS, &request) < 0) fail("SIOCSIFFLAGS");
  close(fd);
}

static uint16_t checksum(const uint8_t *bytes, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i < length; i += 2) sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((uint16_t)~sum);
}

static uint64_t echo(int fd, const struct sockaddr_in *to, uint16_t sequence) {
  uint8_t packet[sizeof(struct icmphdr) + 56], answer[1500];
  struct icmphdr header = {.type = ICMP_ECHO, .un.echo = {htons(0x5652), htons(sequence)}};
  uint64_t begin = now();
  for (size_t i = sizeof header; i < sizeof packet; i++) packet[i] = (uint8_t)i;
  memcpy(packet, &header, sizeof header);
  header.checksum = checksum(packet, sizeof packet);
  memcpy(packet, &header, sizeof header);
  if (sendto(fd, packet, sizeof packet, 0, (const void *)to, sizeof *to) < 0) fail("sendto");
  for (;;) {
    ssize_t length = recv(fd, answer, sizeof answer, 0);
    if (length < 0) fail("recv");
    if (length < 20 + (ssize_t)sizeof packet) continue;
    struct icmphdr *got = (struct icmphdr *)(void *)(answer + 20);
    if (got->type == ICMP_ECHOREPLY && got->un.echo.sequence == htons(sequence)) break;
  }
  return now() - begin;
}

static int ping(char **args) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  struct timeval deadline = {2, 0};
  size_t count = strtoul(args[3], NULL, 10);
  uint64_t *times = calloc(count, sizeof *times);
  bring_up(args[0], args[1]);
  inet_pton(AF_INET, args[2], &to.sin_addr);
  int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
  if (fd < 0 || times == NULL) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
  echo(fd, &to, 0xffff); /* ARP */
  uint64_t begin = now();
  for (size_t i = 0; i < count; i++) times[i] = echo(fd, &to, (uint16_t)i);
  print(now() - begin, times, count);
  return 0;
}

int main(int count, char **args) {
  if (count > 2 && strcmp(args[1], "insmod") == 0) return insmod(count - 2, args + 2);
  if (count == 8 && strcmp(args[1], "read") == 0) return read_blocks(args + 2);
  if (count == 6 && strcmp(args[1], "ping") == 0) return ping(args + 2);
  fprintf(stderr, "usage: peer insmod FILE... | read ... | ping ...\n");
  return 2;
}
