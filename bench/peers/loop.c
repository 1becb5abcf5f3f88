/*
 * The C peer: both halves of a split or a packed ring in one thread, with the bookkeeping that either
 * side cannot do without: a free list, a token and a length for each buffer, and bounds of what the
 * other side wrote. Answers each line "WORK COUNT" with nanoseconds per buffer.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZE = 256, BUFFER = 64, MEMORY = 1 << 20, NEXT = 1, WRITE = 2, AVAIL = 1 << 7, USED = 1 << 15 };

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct used { uint32_t id, len; };
struct packed { uint64_t addr; uint32_t len; uint16_t id; _Atomic uint16_t flags; };
struct shadow { int32_t next, token; uint32_t writable; };

static struct desc descs[SIZE];
static uint16_t avail[SIZE];
static struct used used[SIZE];
static _Atomic uint16_t avail_idx, used_idx, avail_flags, used_flags;
static struct packed ring[SIZE];
static _Atomic uint16_t driver_event = 1, device_event;
static struct shadow shadow[SIZE];
static int32_t first_free;
static uint32_t in_flight;
static volatile uint64_t sink;

static void fail(const char *what)
{
	fprintf(stderr, "loop: %s\n", what);
	exit(1);
}

static void set_up(void)
{
	for (int i = 0; i < SIZE; i++) {
		shadow[i] = (struct shadow){ (i + 1) % SIZE, -1, 0 };
		descs[i] = (struct desc){ i * BUFFER, BUFFER, WRITE, 0 };
		avail[i] = (uint16_t)i;
	}
	first_free = 0;
}

static void check(uint64_t addr, uint32_t len, uint16_t flags)
{
	if (addr >= MEMORY || len > MEMORY - addr || !(flags & WRITE))
		fail("a descriptor is wrong");
}

static uint16_t taken, put, returned;

/* Each half is a function of its own, as it is where two programs meet. */
__attribute__((noinline)) static void split_give(unsigned batch)
{
	for (unsigned i = 0; i < batch; i++) {
		int32_t head = first_free;
		if (in_flight == SIZE)
			fail("the ring is full");
		descs[head] = (struct desc){ i * BUFFER, BUFFER, WRITE, 0 };
		first_free = shadow[head].next;
		shadow[head].token = (int32_t)i;
		shadow[head].writable = BUFFER;
		avail[put++ % SIZE] = (uint16_t)head;
		in_flight++;
	}
	atomic_store(&avail_idx, put);
	if (!(atomic_load(&used_flags) & 1))
		sink++;
}

__attribute__((noinline)) static void split_serve(void)
{
	uint16_t seen_avail = atomic_load_explicit(&avail_idx, memory_order_acquire);
	while (taken != seen_avail) {
		uint16_t head = avail[taken % SIZE];
		if (head >= SIZE)
			fail("an entry is wrong");
		struct desc d = descs[head];
		check(d.addr, d.len, d.flags);
		used[taken % SIZE] = (struct used){ head, d.len };
		taken++;
	}
	atomic_store(&used_idx, taken);
	if (!(atomic_load(&avail_flags) & 1))
		sink++;
}

__attribute__((noinline)) static void split_take(void)
{
	uint16_t end = atomic_load_explicit(&used_idx, memory_order_acquire);
	while (returned != end) {
		struct used u = used[returned++ % SIZE];
		if (u.id >= SIZE || shadow[u.id].token < 0)
			fail("a used entry is wrong");
		sink += u.len < shadow[u.id].writable ? u.len : shadow[u.id].writable;
		shadow[u.id].token = -1;
		shadow[u.id].next = first_free;
		first_free = (int32_t)u.id;
		in_flight--;
	}
}

static uint16_t p_put, p_taken, p_pushed, p_back;
static uint16_t put_wrap = AVAIL, taken_wrap = AVAIL, pushed_wrap = AVAIL | USED, back_wrap = AVAIL | USED;

__attribute__((noinline)) static void packed_give(unsigned batch)
{
	uint16_t first = p_put, first_flags = 0;
	for (unsigned i = 0; i < batch; i++) {
		int32_t id = first_free;
		if (in_flight == SIZE)
			fail("the ring is full");
		uint16_t flags = WRITE | (put_wrap ? AVAIL : USED);
		ring[p_put].addr = i * BUFFER;
		ring[p_put].len = BUFFER;
		ring[p_put].id = (uint16_t)id;
		/* The first flags come last: the device stops there until then. */
		if (i == 0)
			first_flags = flags;
		else
			atomic_store_explicit(&ring[p_put].flags, flags, memory_order_relaxed);
		first_free = shadow[id].next;
		shadow[id].token = (int32_t)i;
		shadow[id].writable = BUFFER;
		in_flight++;
		if (++p_put == SIZE) {
			p_put = 0;
			put_wrap ^= AVAIL;
		}
	}
	atomic_store(&ring[first].flags, first_flags);
	if (atomic_load(&device_event) == 0)
		sink++;
}

__attribute__((noinline)) static void packed_serve(unsigned batch)
{
	for (unsigned i = 0; i < batch; i++) {
		uint16_t flags = atomic_load_explicit(&ring[p_taken].flags, memory_order_acquire);
		if ((flags & (AVAIL | USED)) != (taken_wrap ? AVAIL : USED))
			fail("nothing is available");
		check(ring[p_taken].addr, ring[p_taken].len, flags);
		uint16_t id = ring[p_taken].id;
		uint32_t len = ring[p_taken].len;
		if (id >= SIZE)
			fail("an id is wrong");
		if (++p_taken == SIZE) {
			p_taken = 0;
			taken_wrap ^= AVAIL;
		}
		ring[p_pushed].id = id;
		ring[p_pushed].len = len;
		atomic_store_explicit(&ring[p_pushed].flags, (uint16_t)(WRITE | pushed_wrap), memory_order_release);
		if (++p_pushed == SIZE) {
			p_pushed = 0;
			pushed_wrap ^= AVAIL | USED;
		}
	}
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&driver_event) == 0)
		sink++;
}

__attribute__((noinline)) static void packed_take(unsigned batch)
{
	for (unsigned i = 0; i < batch; i++) {
		uint16_t flags = atomic_load_explicit(&ring[p_back].flags, memory_order_acquire);
		if ((flags & (AVAIL | USED)) != back_wrap)
			fail("nothing came back");
		uint16_t id = ring[p_back].id;
		uint32_t len = ring[p_back].len;
		if (id >= SIZE || shadow[id].token < 0)
			fail("a used descriptor is wrong");
		sink += len < shadow[id].writable ? len : shadow[id].writable;
		shadow[id].token = -1;
		shadow[id].next = first_free;
		first_free = id;
		in_flight--;
		if (++p_back == SIZE) {
			p_back = 0;
			back_wrap ^= AVAIL | USED;
		}
	}
}

/* The device's half alone, over what is in the ring; the driver's half is one store. */
static void device(unsigned batch, unsigned count)
{
	for (unsigned done = 0; done < count; done += batch) {
		atomic_store(&avail_idx, (uint16_t)(taken + batch));
		split_serve();
	}
	/* What came back is nobody's: the driver's half goes on behind it. */
	put = returned = taken;
}

int main(void)
{
	char work[64];
	unsigned count;
	set_up();
	while (scanf("%63s %u", work, &count) == 2) {
		unsigned batch = strstr(work, "-64") ? 64 : 1;
		struct timespec a, b;
		int known = 1;
		clock_gettime(CLOCK_MONOTONIC, &a);
		if (!strncmp(work, "split-", 6)) {
			for (unsigned done = 0; done < count; done += batch) {
				split_give(batch);
				split_serve();
				split_take();
			}
		} else if (!strncmp(work, "packed-", 7)) {
			for (unsigned done = 0; done < count; done += batch) {
				packed_give(batch);
				packed_serve(batch);
				packed_take(batch);
			}
		} else if (!strncmp(work, "device-", 7)) {
			device(batch, count);
		} else {
			known = 0;
		}
		clock_gettime(CLOCK_MONOTONIC, &b);
		double ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / count;
		printf("%.3f\n", known ? ns : -1.0);
		fflush(stdout);
	}
	return 0;
}
