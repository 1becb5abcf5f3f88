/*
 * The C peer of a disk behind qtest: the messages that our driver exchanges with QEMU for a read of 4 KiB, by
 * calls that block. The disk is set up already, and one chain of three descriptors stands in its ring.
 */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum { BYTES = 4096, SECTOR = 512, DISK_SECTORS = 1024, MESSAGE = 256 };

struct request { uint32_t type, reserved; uint64_t sector; uint8_t data[BYTES], status; };

static char said[MESSAGE + 1];
static size_t length;
static uint8_t copy[BYTES];

/* Reads until a line with this text has come, and forgets what came up to its end. */
static int heard(int fd, const char *text)
{
	for (;;) {
		char *found = strstr(said, text), *end = found ? strchr(found, '\n') : NULL;
		if (end) {
			length -= (size_t)(end + 1 - said);
			memmove(said, end + 1, length + 1);
			return 0;
		}
		ssize_t more = recv(fd, said + length, MESSAGE - length, 0);
		if (more <= 0)
			return -1;
		length += (size_t)more;
		said[length] = 0;
	}
}

static int ask(int fd, const char *text, const char *answer)
{
	size_t bytes = strlen(text);
	return send(fd, text, bytes, MSG_NOSIGNAL) == (ssize_t)bytes ? heard(fd, answer) : -1;
}

/* Reads so many times, and returns how many reads were right. `avail` and `used` are after their flags. */
uint32_t qtest_loop(int fd, uint16_t *avail, const uint16_t *used, uint32_t size, uint8_t *memory,
	const char *notify, const char *cause, const char *acknowledge, uint32_t count)
{
	struct request *request = (struct request *)memory;
	uint32_t right = 0;
	for (uint32_t i = 0; i < count; i++) {
		request->type = 0;
		request->sector = i * (BYTES / SECTOR) % DISK_SECTORS;
		request->status = 0xff;
		uint16_t next = __atomic_load_n(avail, __ATOMIC_RELAXED);
		avail[1 + next % size] = 0;
		__atomic_store_n(avail, (uint16_t)(next + 1), __ATOMIC_SEQ_CST);
		if (ask(fd, notify, "OK") || heard(fd, "IRQ raise"))
			return right;
		/* The line falls before the answer comes. */
		if (ask(fd, cause, "OK") || ask(fd, acknowledge, "OK"))
			return right;
		if (__atomic_load_n(used, __ATOMIC_ACQUIRE) != (uint16_t)(next + 1) || request->status != 0)
			return right;
		memcpy(copy, request->data, BYTES);
		right++;
	}
	return right;
}
