// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Sends frames out of a device from inside the kernel: one long BPF_PROG_RUN call on live frames
 * (generate.bpf.c). Run it in the namespace of the device, which is its argument.
 *
 * The first line of its input is `struct generator_plan` in hexadecimal. It prints "ready", then for
 * each further line one line of JSON with what was sent so far; the end of the input, SIGINT, SIGTERM
 * or the plan's count or duration end it, and it prints such a line as its last. SIGSTOP and SIGCONT
 * interrupt it for a while.
 *
 * The device at the other end must run an XDP program or have GRO on; a veth drops what arrives
 * otherwise.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "object.h"
#include "plan.h"

#define RUNS_PER_CALL 1000000000u
/* The watch takes time from the sender's core: often only when something is to happen soon. */
#define WATCH_MILLISECONDS_MIN 1
#define WATCH_MILLISECONDS_MAX 10
#define MILLISECOND 1000000ULL
/* Turns of the watch; the call is set up long before. Not a time: a stopped process waits for SIGCONT. */
#define FIRST_FRAME_TURNS 5000

/* What the thread that watches shares with the one that is in the kernel. */
struct watch {
	pthread_t sender;
	const struct generator_settings *settings;
	const volatile struct generator_state *state;
	/* Of the first frame: the time runs from then; 0 before. */
	__u64 begin_nanoseconds;
	int turns_before;
	volatile int is_done;
};

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

static __u64 now_nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * 1000000000ULL + (__u64)now.tv_nsec;
}

static int read_plan(struct generator_plan *plan)
{
	unsigned char *bytes = (unsigned char *)plan;

	for (size_t i = 0; i < sizeof(*plan); i++) {
		char digits[3] = { 0 };

		if (fread(digits, 1, 2, stdin) != 2 || sscanf(digits, "%2hhx", &bytes[i]) != 1)
			return 0;
	}
	return getchar() == '\n' && plan->version == PLAN_VERSION && plan->bytes == sizeof(*plan) &&
	       plan->settings.template_count >= 1 && plan->settings.template_count <= TEMPLATES_MAX &&
	       plan->settings.schedule_length >= 1 && plan->settings.schedule_length <= SCHEDULE_MAX &&
	       plan->settings.frame_bytes_max >= HEADER_BYTES &&
	       plan->settings.frame_bytes_max <= FRAME_BYTES_MAX;
}

/* Without a clock in the program only the first frame has a time, and the last is that of asking. */
static void print_state(const struct watch *watch)
{
	const volatile struct generator_state *state = watch->state;
	const __u64 now = now_nanoseconds();
	const struct generator_settings *settings = watch->settings;
	const int is_timed = settings->has_timestamps || settings->is_paced;
	const __u64 bytes = settings->template_count > 1 ? state->bytes_sent :
							   state->frames_sent * settings->frame_bytes_max;

	printf("{\"frames\":%llu,\"bytes\":%llu,\"firstNanoseconds\":%llu,\"lastNanoseconds\":%llu,"
	       "\"timesBehind\":%llu,\"nowNanoseconds\":%llu}\n",
	       state->frames_sent, bytes, state->first_nanoseconds,
	       is_timed || !state->frames_sent ? state->last_nanoseconds : now, state->times_behind, now);
	fflush(stdout);
}

/* Of the duration; without one the watch is in no hurry. */
static __u64 nanoseconds_left(const struct watch *watch)
{
	const __u64 duration = watch->settings->duration;
	const __u64 since = now_nanoseconds() - watch->begin_nanoseconds;

	if (duration == 0)
		return WATCH_MILLISECONDS_MAX * MILLISECOND;
	return since < duration ? duration - since : 0;
}

static int is_over(struct watch *watch)
{
	const __u64 frame_count = watch->settings->frame_count;

	if (watch->begin_nanoseconds == 0)
		return ++watch->turns_before > FIRST_FRAME_TURNS;
	return (frame_count != 0 && watch->state->frames_sent >= frame_count) ||
	       nanoseconds_left(watch) == 0;
}

static int milliseconds_to_wait(const struct watch *watch)
{
	const __u64 left = nanoseconds_left(watch) / MILLISECOND;

	if (watch->begin_nanoseconds == 0 || left < WATCH_MILLISECONDS_MIN)
		return WATCH_MILLISECONDS_MIN;
	return left < WATCH_MILLISECONDS_MAX ? (int)left : WATCH_MILLISECONDS_MAX;
}

/* Answers the input, and ends the sender's call: again and again, since a signal before it is lost. */
static void *keep_watch(void *argument)
{
	struct watch *watch = argument;
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char line[64];

	while (!watch->is_done) {
		if (poll(&input, 1, milliseconds_to_wait(watch)) > 0 && !stopped) {
			if (read(STDIN_FILENO, line, sizeof(line)) > 0)
				print_state(watch);
			else
				stopped = 1;
		}
		if (watch->begin_nanoseconds == 0 && watch->state->frames_sent != 0)
			watch->begin_nanoseconds = now_nanoseconds();
		if (is_over(watch))
			stopped = 1;
		if (!stopped)
			continue;
		pthread_kill(watch->sender, SIGUSR1);
		usleep(WATCH_MILLISECONDS_MIN * 1000);
	}
	return NULL;
}

/* The call ends with EINTR on a signal; with 0 after its number of runs, and is then made again. */
static int run(int program, const struct generator_settings *settings)
{
	static unsigned char frame[FRAME_BYTES_MAX];

	while (!stopped) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame,
			    .data_size_in = settings->frame_bytes_max, .repeat = (int)RUNS_PER_CALL,
			    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = settings->batch);
		int error = bpf_prog_test_run_opts(program, &options);

		if (error && error != -EINTR && error != -EAGAIN) {
			fprintf(stderr, "BPF_PROG_RUN on live frames: %s\n", strerror(-error));
			return 0;
		}
	}
	return 1;
}

static int send_frames(const struct bpf_object *object, const struct generator_plan *plan)
{
	const struct sigaction action = { .sa_handler = stop };
	const int signals[] = { SIGINT, SIGTERM, SIGUSR1 };
	struct watch watch = { .sender = pthread_self(), .settings = &plan->settings };
	pthread_t watcher;
	int is_well;

	watch.state = map_globals(object, ".bss", sizeof(struct generator_state));
	if (!watch.state)
		return 0;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	puts("ready");
	fflush(stdout);
	if (pthread_create(&watcher, NULL, keep_watch, &watch))
		return 0;
	is_well = run(program_fd(object, "generate"), &plan->settings);
	watch.is_done = 1;
	pthread_join(watcher, NULL);
	print_state(&watch);
	return is_well;
}

int main(int argc, char **argv)
{
	static struct generator_plan plan;
	struct generator_settings settings;
	struct bpf_object *object;
	int is_well;

	if (argc != 2) {
		fprintf(stderr, "usage: %s device, and a plan on the input\n", argv[0]);
		return 2;
	}
	setvbuf(stdin, NULL, _IONBF, 0);
	if (!read_plan(&plan)) {
		fprintf(stderr, "no plan of version %d and %zu bytes on the input\n", PLAN_VERSION,
			sizeof(plan));
		return 2;
	}
	settings = plan.settings;
	settings.out_device = if_nametoindex(argv[1]);
	if (settings.out_device == 0) {
		fprintf(stderr, "no device %s\n", argv[1]);
		return 1;
	}
	/* Without another need for a clock it is the watching thread that ends the run. */
	if (!settings.has_timestamps && !settings.is_paced)
		settings.duration = 0;
	object = open_object("generate.bpf.o");
	if (!object || !set_globals(object, ".rodata", &settings, sizeof(settings)) ||
	    !set_globals(object, ".data.frames", &plan.templates, sizeof(plan.templates)) ||
	    bpf_object__load(object)) {
		fprintf(stderr, "the kernel refused the generator's program\n");
		return 1;
	}
	is_well = send_frames(object, &plan);
	bpf_object__close(object);
	return is_well ? 0 : 1;
}
