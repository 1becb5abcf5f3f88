/*
 * What PID 1 of the guest needs from Linux and Deno does not offer: mounts, power off, and one
 * serial line shared by standard input, output, error and the exit code.
 *
 * The line carries frames: SYN 'V', a kind, four hex digits of length, the payload. Whatever is not
 * a frame is the kernel talking.
 *   guest to host: r ready, o output, e error, f the program's file,
 *     x exit code in decimal, a input taken
 *   host to guest: i input, c end of input, s signal number in decimal, w "rows cols"
 *   both: q what the program and QEMU's monitor say to each other
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
static int monitor[2] = {-1, -1}; /* the FIFOs from and to QEMU's monitor */
static int stop[2] = {-1, -1};   /* closing the second one tells the pump to send the rest and end */
static pthread_t pump_thread;
static pthread_mutex_t line_lock = PTHREAD_MUTEX_INITIALIZER;

static void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t done = write(fd, bytes, length);
    if (done < 0 && errno == EAGAIN) poll(&(struct pollfd){fd, POLLOUT, 0}, 1, -1);
    else if (done < 0 && errno != EINTR) return;
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

/* Moves output to the line until it is told to stop; what is there by then still goes out. */
static void *pump(void *unused) {
  static const char kinds[] = "oefq";
  enum { SOURCES = sizeof kinds - 1 };
  char bytes[PAYLOAD];
  int fds[SOURCES] = {sources[0], sources[1], file, monitor[1]};
  struct pollfd polled[1 + SOURCES] = {{stop[0], POLLIN, 0}};
  for (int i = 0; i < SOURCES; i++) {
    polled[i + 1] = (struct pollfd){fds[i], POLLIN, 0};
    if (fds[i] >= 0) fcntl(fds[i], F_SETFL, O_NONBLOCK);
  }
  for (int stopping = 0; !stopping;) {
    if (poll(polled, 1 + SOURCES, -1) < 0) continue;
    stopping = polled[0].revents != 0;
    for (int i = 0; i < SOURCES; i++) {
      ssize_t length;
      if (polled[i + 1].fd < 0 || (polled[i + 1].revents == 0 && !stopping)) continue;
      do {
        length = read(fds[i], bytes, sizeof bytes);
        if (length > 0) send_frame(kinds[i], bytes, (size_t)length);
      } while (stopping && length > 0);
      if (length == 0 || (length < 0 && errno != EINTR && errno != EAGAIN)) polled[i + 1].fd = -1;
    }
  }
  return unused;
}

static int make_fifo(const char *path) {
  return mkfifo(path, 0600) < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
}

/* Makes a path whose bytes go to the host; before the line is connected. Returns 0 or -errno. */
int32_t vireo_guest_output(const char *path) {
  file = make_fifo(path);
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
    if (header[2] == 'q') write_all(monitor[0], bytes, length);
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

/*
 * Makes descriptors 0 to 2 these. Deno keeps copies of 1 and 2, made in this order at its start, which
 * children inherit: whatever still is the kernel's console follows.
 */
static int attach(const int fds[3]) {
  struct stat console, other;
  int next = 1;
  if (fstat(1, &console) < 0) return -1;
  for (int fd = 3; fd < 256; fd++) {
    if (fstat(fd, &other) < 0 || !S_ISCHR(other.st_mode) || other.st_rdev != console.st_rdev) continue;
    if (dup3(fds[next], fd, O_CLOEXEC) < 0) return -1;
    next = 2;
  }
  for (int fd = 0; fd < 3; fd++)
    if (dup2(fds[fd], fd) < 0) return -1;
  return 0;
}

static int use_pipes(void) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) return -1;
  input = in[1];
  sources[0] = out[0];
  sources[1] = err[0];
  return attach((const int[]){in[0], out[1], err[1]});
}

static int use_terminal(int guest) {
  setsid();
  ioctl(guest, TIOCSCTTY, 0);
  return attach((const int[]){guest, guest, guest});
}

/* A terminal of our own: the host's size and keys, and the line's frames. */
static int use_pty(void) {
  int guest;
  if (openpty(&input, &guest, NULL, NULL, NULL) < 0) return -1;
  fcntl(input, F_SETFD, FD_CLOEXEC);
  sources[0] = input;
  return use_terminal(guest);
}

/* Makes the line itself the terminal: no host reads frames from it. Returns 0 or -errno. */
int32_t vireo_guest_plain(const char *path) {
  int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  return fd < 0 || use_terminal(fd) < 0 ? -errno : 0;
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
  if (pipe2(stop, O_CLOEXEC) < 0 || (terminal ? use_pty() : use_pipes()) < 0) return -errno;
  monitor[0] = make_fifo("/vireo/monitor.in");
  monitor[1] = make_fifo("/vireo/monitor.out");
  if (monitor[0] < 0 || monitor[1] < 0) return -errno;
  if (pthread_create(&pump_thread, NULL, pump, NULL) != 0) return -EAGAIN;
  if (pthread_create(&thread, NULL, receive, NULL) != 0) return -EAGAIN;
  send_frame('r', NULL, 0);
  return 0;
}

/* Sends what is left and the exit code, and powers off; does not return. */
void vireo_guest_finish(int32_t code) {
  char text[16];
  if (line >= 0) {
    kill(-1, SIGKILL); /* children: what they wrote is in the pipes */
    if (input >= 0 && input == sources[0]) usleep(20000); /* a terminal passes output on a little later */
    close(stop[1]);
    pthread_join(pump_thread, NULL);
    send_frame('x', text, (size_t)snprintf(text, sizeof text, "%d", code));
    tcdrain(line);
  }
  reboot(RB_POWER_OFF);
  _exit(code & 0xff);
}
