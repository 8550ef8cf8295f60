/*
 * wan: a small userspace WAN emulator. It joins two network namespaces with a pair of TUN devices and carries every IP packet
 * between them with delay, jitter, loss, a rate limit with a bounded queue, duplication, reordering and corruption, so that TCP and
 * UDP programs can be measured over the same bad path.
 *
 *   cc -O2 -o wan wan.c
 *   wan NS_A IP_A NS_B IP_B [option=value ...]      (needs root; both namespaces must exist)
 *
 * Options (each applies to both directions; append .ab or .ba to set one, e.g. loss.ab=1):
 *   delay=MS jitter=MS rate=MBIT queue=KB loss=PCT burst=N (mean loss burst, packets) dup=PCT reorder=PCT corrupt=PCT
 *   unchecked=1 (UDP that is corrupted has no checksum, RFC 768, so that programs get to see it) mtu=BYTES seed=N
 * While it runs it reads commands on standard input, one per line:
 *   set option=value ...   change options
 *   down / up              drop everything / carry again
 *   rebind                 give all UDP of A other source ports, as a NAT does that has forgotten them: what B sends to the old ones is dropped
 *   stats                  print counters
 * It prints "ready" when both devices are up, and counters when it ends (SIGINT or SIGTERM).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

typedef struct {
  double delay, jitter, rate, queue, loss, burst, dup, reorder, corrupt, unchecked;
} Options;

typedef struct {
  uint64_t due, order;
  int length;
  unsigned char *data;
} Packet;

/* One direction: where packets are read and written, what happens to them, and those on their way as a heap by time of arrival. */
typedef struct {
  const char *name;
  int in, out;
  Options options;
  Packet *heap;
  int waiting, capacity;
  uint64_t line_free_at, order;
  int in_burst;
  uint64_t seen, sent, lost, tail_dropped, duplicated, corrupted, bytes;
} Direction;

static Direction ab = {.name = "ab"}, ba = {.name = "ba"};
static Direction *const directions[2] = {&ab, &ba};
static int carries = 1, mtu = 1500;
/* Source ports of A's UDP are seen at B with these bits turned over; those that A has used. */
static unsigned outer_bits;
static char is_inner[65536];
static uint64_t random_state = 88172645463325252ull;
static volatile sig_atomic_t stop;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static double uniform(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (random_state >> 11) * (1.0 / 9007199254740992.0);
}

static int chance(double percent) { return percent > 0 && uniform() * 100 < percent; }

static void seed(double value) {
  random_state = 88172645463325252ull ^ ((uint64_t)value * 0x9E3779B97F4A7C15ull);
  if (!random_state) random_state = 1;
}

static int earlier(const Packet *a, const Packet *b) { return a->due < b->due || (a->due == b->due && a->order < b->order); }

static void swap(Packet *a, Packet *b) {
  Packet t = *a;
  *a = *b;
  *b = t;
}

static void push(Direction *d, Packet packet) {
  if (d->waiting == d->capacity) {
    d->capacity = d->capacity ? d->capacity * 2 : 1024;
    d->heap = realloc(d->heap, d->capacity * sizeof(Packet));
    if (!d->heap) die("realloc");
  }
  int i = d->waiting++;
  d->heap[i] = packet;
  for (; i && earlier(&d->heap[i], &d->heap[(i - 1) / 2]); i = (i - 1) / 2) swap(&d->heap[i], &d->heap[(i - 1) / 2]);
}

static Packet pop(Direction *d) {
  Packet top = d->heap[0];
  d->heap[0] = d->heap[--d->waiting];
  for (int i = 0;;) {
    int child = 2 * i + 1;
    if (child >= d->waiting) break;
    if (child + 1 < d->waiting && earlier(&d->heap[child + 1], &d->heap[child])) child++;
    if (!earlier(&d->heap[child], &d->heap[i])) break;
    swap(&d->heap[i], &d->heap[child]);
    i = child;
  }
  return top;
}

/* Two-state (Gilbert) loss: the mean rate is `loss`, the mean run of lost packets is `burst`. */
static int is_lost(Direction *d) {
  if (d->options.loss <= 0) return 0;
  if (d->options.burst <= 1) return chance(d->options.loss);
  double p = d->options.loss / 100, leave = 1 / d->options.burst, enter = p * leave / (1 - p);
  d->in_burst = d->in_burst ? uniform() >= leave : uniform() < enter;
  return d->in_burst;
}

/* When a packet has passed the rate limit; 0 when the queue before it is full. */
static uint64_t departure(Direction *d, int length, uint64_t now) {
  if (d->options.rate <= 0) return now;
  if (d->line_free_at < now) d->line_free_at = now;
  double bytes_ahead = (d->line_free_at - now) * d->options.rate / 8000.0;
  if (d->options.queue > 0 && bytes_ahead + length > d->options.queue * 1024) return 0;
  return d->line_free_at += (uint64_t)(length * 8 * 1000.0 / d->options.rate);
}

/* Where the UDP header of an IPv4 packet begins; 0 when it has none. */
static int udp_at(const unsigned char *data, int length) {
  int at = (data[0] & 15) * 4;
  int is_first = (((data[6] & 0x1f) << 8) | data[7]) == 0;
  return data[0] >> 4 == 4 && data[9] == 17 && is_first && length >= at + 8 ? at : 0;
}

/* Changes 16 bits at `at`, and the UDP checksum with them (RFC 1624), unless there is none. */
static void rewrite(unsigned char *data, int udp, int at, unsigned value) {
  unsigned sum = (data[udp + 6] << 8) | data[udp + 7], old = (data[at] << 8) | data[at + 1];
  data[at] = value >> 8;
  data[at + 1] = value;
  if (!sum) return;
  sum = (~sum & 0xffff) + (~old & 0xffff) + value;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  sum = ~sum & 0xffff;
  if (!sum) sum = 0xffff;
  data[udp + 6] = sum >> 8;
  data[udp + 7] = sum;
}

/* What the NAT before A does; 0 when it knows nobody whom the packet is for. */
static int translate(Direction *d, unsigned char *data, int length) {
  int udp = udp_at(data, length);
  if (!udp) return 1;
  int at = d == &ab ? udp : udp + 2;
  unsigned port = (data[at] << 8) | data[at + 1];
  if (d == &ab) is_inner[port] = 1;
  else if (outer_bits && !is_inner[port ^ outer_bits]) return 0;
  if (outer_bits) rewrite(data, udp, at, port ^ outer_bits);
  return 1;
}

static void corrupt(Direction *d, unsigned char *data, int length) {
  data[40 + (int)(uniform() * (length - 40))] ^= 1 << (int)(uniform() * 8);
  d->corrupted++;
  int udp = udp_at(data, length);
  if (udp && d->options.unchecked > 0) data[udp + 6] = data[udp + 7] = 0;
}

static void enqueue_copy(Direction *d, const unsigned char *data, int length, uint64_t depart) {
  double ms = d->options.delay + (d->options.jitter > 0 ? (uniform() * 2 - 1) * d->options.jitter : 0);
  if (ms < 0 || chance(d->options.reorder)) ms = 0;
  Packet packet = {depart + (uint64_t)(ms * 1e6), d->order++, length, malloc(length)};
  if (!packet.data) die("malloc");
  memcpy(packet.data, data, length);
  if (length > 40 && chance(d->options.corrupt)) corrupt(d, packet.data, length);
  push(d, packet);
}

static void enqueue(Direction *d, unsigned char *data, int length, uint64_t now) {
  d->seen++;
  if (!carries || is_lost(d) || !translate(d, data, length)) {
    d->lost++;
    return;
  }
  uint64_t depart = departure(d, length, now);
  if (!depart) {
    d->tail_dropped++;
    return;
  }
  enqueue_copy(d, data, length, depart);
  if (chance(d->options.dup)) {
    d->duplicated++;
    enqueue_copy(d, data, length, depart);
  }
}

static void deliver(Direction *d, uint64_t now) {
  while (d->waiting && d->heap[0].due <= now) {
    Packet packet = pop(d);
    if (write(d->out, packet.data, packet.length) == packet.length) {
      d->sent++;
      d->bytes += packet.length;
    }
    free(packet.data);
  }
}

/* Makes a TUN device inside the namespace and returns its descriptor, which stays usable from outside. */
static int tun_in(const char *namespace, const char *address, const char *device) {
  char path[256];
  snprintf(path, sizeof path, "/var/run/netns/%s", namespace);
  int self = open("/proc/self/ns/net", O_RDONLY), other = open(path, O_RDONLY);
  if (other < 0) die(path);
  if (setns(other, CLONE_NEWNET)) die("setns");

  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (fd < 0) die("/dev/net/tun");
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(fd, TUNSETIFF, &request)) die("TUNSETIFF");

  char command[512];
  snprintf(command, sizeof command, "ip link set lo up; ip addr replace %s/24 dev %s && ip link set %s up mtu %d txqueuelen 10000",
           address, device, device, mtu);
  if (system(command)) {
    fprintf(stderr, "wan: cannot set up %s in %s\n", device, namespace);
    exit(1);
  }
  if (setns(self, CLONE_NEWNET)) die("setns back");
  close(self);
  close(other);
  return fd;
}

static const struct {
  const char *name;
  size_t offset;
} fields[] = {
    {"delay", offsetof(Options, delay)},     {"jitter", offsetof(Options, jitter)}, {"rate", offsetof(Options, rate)},
    {"queue", offsetof(Options, queue)},     {"loss", offsetof(Options, loss)},     {"burst", offsetof(Options, burst)},
    {"dup", offsetof(Options, dup)},         {"reorder", offsetof(Options, reorder)}, {"corrupt", offsetof(Options, corrupt)},
    {"unchecked", offsetof(Options, unchecked)},
};

static double *field(Options *options, const char *name) {
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    if (!strcmp(name, fields[i].name)) return (double *)((char *)options + fields[i].offset);
  return NULL;
}

/* Sets `option=value` or `option.direction=value`; -1 when there is no such option. */
static int set(const char *assignment) {
  char name[32];
  const char *equals = strchr(assignment, '=');
  if (!equals || equals - assignment >= (ptrdiff_t)sizeof name) return -1;
  memcpy(name, assignment, equals - assignment);
  name[equals - assignment] = 0;
  double value = atof(equals + 1);

  char *only = strchr(name, '.');
  if (only) *only++ = 0;
  if (only && strcmp(only, "ab") && strcmp(only, "ba")) return -1;
  if (!strcmp(name, "mtu")) {
    mtu = (int)value;
    return 0;
  }
  if (!strcmp(name, "seed")) {
    seed(value);
    return 0;
  }
  for (int i = 0; i < 2; i++) {
    if (only && strcmp(only, directions[i]->name)) continue;
    double *option = field(&directions[i]->options, name);
    if (!option) return -1;
    *option = value;
  }
  return 0;
}

static void print_stats(void) {
  for (int i = 0; i < 2; i++) {
    Direction *d = directions[i];
    printf("%s seen=%llu sent=%llu lost=%llu tail=%llu dup=%llu corrupt=%llu bytes=%llu waiting=%d\n", d->name,
           (unsigned long long)d->seen, (unsigned long long)d->sent, (unsigned long long)d->lost, (unsigned long long)d->tail_dropped,
           (unsigned long long)d->duplicated, (unsigned long long)d->corrupted, (unsigned long long)d->bytes, d->waiting);
  }
  fflush(stdout);
}

static void command(char *line) {
  char *save, *word = strtok_r(line, " \t\r\n", &save);
  if (!word) return;
  if (!strcmp(word, "down")) carries = 0;
  else if (!strcmp(word, "up")) carries = 1;
  else if (!strcmp(word, "rebind")) outer_bits = 1 + (unsigned)(uniform() * 0xffff);
  else if (!strcmp(word, "stats")) print_stats();
  else if (!strcmp(word, "set")) {
    while ((word = strtok_r(NULL, " \t\r\n", &save)))
      if (set(word)) fprintf(stderr, "wan: bad option %s\n", word);
  } else fprintf(stderr, "wan: bad command %s\n", word);
}

/* Reads what is there of standard input and carries out its complete lines; 0 at the end of input. */
static int read_commands(void) {
  static char buffer[4096];
  static size_t used;
  ssize_t length = read(0, buffer + used, sizeof buffer - 1 - used);
  if (length <= 0) return 0;
  used += length;
  buffer[used] = 0;
  char *start = buffer, *newline;
  while ((newline = strchr(start, '\n'))) {
    *newline = 0;
    command(start);
    start = newline + 1;
  }
  used = strlen(start);
  memmove(buffer, start, used + 1);
  if (used == sizeof buffer - 1) used = 0;
  return 1;
}

static void read_packets(Direction *d) {
  static unsigned char buffer[65536];
  for (int k = 0; k < 64; k++) {
    int length = read(d->in, buffer, sizeof buffer);
    if (length <= 0) return;
    enqueue(d, buffer, length, now_ns());
  }
}

/* Delivers what is due and returns how long nothing else will be; NULL for ever. */
static struct timespec *deliver_due(struct timespec *wait) {
  uint64_t now = now_ns(), next = UINT64_MAX;
  for (int i = 0; i < 2; i++) {
    deliver(directions[i], now);
    if (directions[i]->waiting && directions[i]->heap[0].due < next) next = directions[i]->heap[0].due;
  }
  if (next == UINT64_MAX) return NULL;
  now = now_ns();
  uint64_t rest = next > now ? next - now : 0;
  wait->tv_sec = rest / 1000000000ull;
  wait->tv_nsec = rest % 1000000000ull;
  return wait;
}

static void on_signal(int signal) {
  (void)signal;
  stop = 1;
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: wan NS_A IP_A NS_B IP_B [option=value ...]\n");
    return 2;
  }
  for (int i = 5; i < argc; i++) {
    if (!set(argv[i])) continue;
    fprintf(stderr, "wan: bad option %s\n", argv[i]);
    return 2;
  }
  prctl(PR_SET_TIMERSLACK, 1);
  ab.in = ba.out = tun_in(argv[1], argv[2], "wan0");
  ba.in = ab.out = tun_in(argv[3], argv[4], "wan0");
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  signal(SIGPIPE, SIG_IGN);
  printf("ready\n");
  fflush(stdout);

  int input_open = 1;
  while (!stop) {
    struct timespec wait;
    struct timespec *timeout = deliver_due(&wait);
    struct pollfd polled[3] = {{ab.in, POLLIN, 0}, {ba.in, POLLIN, 0}, {input_open ? 0 : -1, POLLIN, 0}};
    if (ppoll(polled, 3, timeout, NULL) < 0) {
      if (errno == EINTR) continue;
      die("ppoll");
    }
    for (int i = 0; i < 2; i++)
      if (polled[i].revents & POLLIN) read_packets(directions[i]);
    if (polled[2].revents) input_open = read_commands();
  }
  print_stats();
  return 0;
}
