/*
 * What PID 1 of the guest needs from Linux and Deno does not offer: mounts, power off, and one
 * serial line shared by standard input, output, error and the exit code.
 *
 * The line carries frames: SYN 'V', a kind, four hex digits of length, the payload. Whatever is not
 * a frame is the kernel talking.
 *   guest to host: r ready, o output, e error, f the program's file,
 *     x exit code in decimal, a input taken
 *   host to guest: i input, c end of input, s signal number in decimal, w "rows cols"
 * A thread moves the bytes, so that output comes out even while JavaScript is busy.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { HEADER = 7, PAYLOAD = 4096 };

static int line = -1;            /* the serial line */
static int input = -1;           /* where input goes: a pipe, or the terminal's master side */
static int sources[2] = {-1, -1}; /* where output and errors come from */
static int file = -1;            /* the FIFO that the program writes as a file */
static pthread_t pump_thread;
static pthread_mutex_t line_lock = PTHREAD_MUTEX_INITIALIZER;

static void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t done = write(fd, bytes, length);
    if (done < 0 && errno != EINTR) return;
    if (done > 0) {
      bytes += done;
      length -= (size_t)done;
    }
  }
}

static void send_frame(char kind, const char *payload, size_t length) {
  char frame[HEADER + PAYLOAD + 1];
  snprintf(frame, HEADER + 1, "\026V%c%04x", kind, (unsigned)(length & 0xffff));
  if (length > 0) memcpy(frame + HEADER, payload, length);
  pthread_mutex_lock(&line_lock);
  write_all(line, frame, HEADER + length);
  pthread_mutex_unlock(&line_lock);
}

/* Moves output to the line until both sources have ended. */
static void *pump(void *unused) {
  char bytes[PAYLOAD];
  /* The FIFO never ends, for we could write to it ourselves: what is left in it goes out last. */
  struct pollfd polled[3] = {
      {sources[0], POLLIN, 0}, {sources[1], POLLIN, 0}, {file, POLLIN, 0}};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    if (poll(polled, 3, -1) < 0) continue;
    for (int i = 0; i < 3; i++) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      ssize_t length = read(polled[i].fd, bytes, sizeof bytes);
      if (length > 0) send_frame("oef"[i], bytes, (size_t)length);
      else if (length == 0 || (errno != EINTR && errno != EAGAIN)) polled[i].fd = -1;
    }
  }
  for (ssize_t length; file >= 0 && (length = read(file, bytes, sizeof bytes)) > 0;)
    send_frame('f', bytes, (size_t)length);
  return unused;
}

/* Makes a path whose bytes go to the host; before the line is connected. Returns 0 or -errno. */
int32_t vireo_guest_output(const char *path) {
  if (mkfifo(path, 0600) < 0) return -errno;
  file = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  return file < 0 ? -errno : 0;
}

static int read_all(char *bytes, size_t length) {
  while (length > 0) {
    ssize_t done = read(line, bytes, length);
    if (done <= 0 && errno != EINTR) return -1;
    if (done > 0) {
      bytes += done;
      length -= (size_t)done;
    }
  }
  return 0;
}

static void resize(const char *text) {
  struct winsize size = {0};
  if (sscanf(text, "%hu %hu", &size.ws_row, &size.ws_col) == 2) ioctl(input, TIOCSWINSZ, &size);
}

/* Takes frames from the line; the host sends the next input only after the answer to this one. */
static void *receive(void *unused) {
  char header[HEADER + 1] = {0}, bytes[PAYLOAD + 1];
  for (;;) {
    if (read_all(header, 1) < 0) return unused;
    if (header[0] != '\026') continue;
    if (read_all(header + 1, HEADER - 1) < 0) return unused;
    unsigned long length = strtoul(header + 3, NULL, 16);
    if (header[1] != 'V' || length > PAYLOAD || read_all(bytes, length) < 0) continue;
    bytes[length] = 0;
    if (header[2] == 'i') {
      write_all(input, bytes, length);
      send_frame('a', NULL, 0);
    }
    if (header[2] == 'c' && input >= 0) {
      close(input);
      input = -1;
    }
    if (header[2] == 's') kill(getpid(), atoi(bytes));
    if (header[2] == 'w') resize(bytes);
  }
}

static int mount_one(const char *type, const char *path) {
  mkdir(path, 0755);
  return mount(type, path, type, 0, NULL) < 0 && errno != EBUSY ? -errno : 0;
}

/* Mounts what programs expect of a Linux. Returns 0 or -errno. */
int32_t vireo_guest_mount(void) {
  static const char *const mounts[][2] = {
      {"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"},
      {"devpts", "/dev/pts"}, {"tmpfs", "/tmp"}};
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
    int error = mount_one(mounts[i][0], mounts[i][1]);
    if (error < 0) return error;
  }
  return 0;
}

static int attach(int read_end, int write_end, int fd) {
  int target = fd == 0 ? read_end : write_end;
  if (dup2(target, fd) < 0) return -1;
  close(target);
  return 0;
}

static int use_pipes(void) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) return -1;
  input = in[1];
  sources[0] = out[0];
  sources[1] = err[0];
  return attach(in[0], -1, 0) < 0 || attach(-1, out[1], 1) < 0 || attach(-1, err[1], 2) < 0 ? -1 : 0;
}

static int use_terminal(void) {
  int host, guest;
  if (openpty(&host, &guest, NULL, NULL, NULL) < 0) return -1;
  fcntl(host, F_SETFD, FD_CLOEXEC);
  input = sources[0] = host;
  setsid();
  ioctl(guest, TIOCSCTTY, 0);
  for (int fd = 0; fd < 3; fd++)
    if (dup2(guest, fd) < 0) return -1;
  close(guest);
  return 0;
}

/* Connects descriptors 0 to 2 to the host through a serial line. Returns 0 or -errno. */
int32_t vireo_guest_connect(const char *path, uint32_t terminal) {
  struct termios raw;
  pthread_t thread;
  line = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (line < 0 || tcgetattr(line, &raw) < 0) return -errno;
  cfmakeraw(&raw);
  raw.c_cflag |= CLOCAL;
  if (tcsetattr(line, TCSANOW, &raw) < 0) return -errno;
  if ((terminal ? use_terminal() : use_pipes()) < 0) return -errno;
  if (pthread_create(&pump_thread, NULL, pump, NULL) != 0) return -EAGAIN;
  if (pthread_create(&thread, NULL, receive, NULL) != 0) return -EAGAIN;
  send_frame('r', NULL, 0);
  return 0;
}

/* Sends what is left and the exit code, and powers off; does not return. */
void vireo_guest_finish(int32_t code) {
  char text[16];
  if (line >= 0) {
    /* Closing the last writers ends the pump; on a terminal it sees an error instead. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    kill(-1, SIGKILL); /* children that still hold the write ends */
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    pthread_join(pump_thread, NULL);
    send_frame('x', text, (size_t)snprintf(text, sizeof text, "%d", code));
    tcdrain(line);
  }
  reboot(RB_POWER_OFF);
  _exit(code & 0xff);
}
