// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Sends frames out of a device from inside the kernel: one long BPF_PROG_RUN call on live frames
 * (generate.bpf.c), ended by a timer or a signal. Run it in the namespace of the device. Prints "ready" and, at its end,
 * one line of JSON: frames, seconds. SIGSTOP and SIGCONT interrupt it for a while.
 *
 * The device at the other end must run an XDP program; a veth drops what arrives otherwise.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "frame.h"
#include "object.h"

enum argument {
	PROGRAM,
	DEVICE,
	SOURCE_MAC,
	DESTINATION_MAC,
	SOURCE,
	DESTINATION,
	BYTES,
	FLOWS,
	RATE,
	SECONDS,
	COUNT,
};

#define RUNS_PER_CALL 1000000000u
#define FRAMES_PER_BATCH 64

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int parse_mac(const char *text, unsigned char *mac)
{
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		      &mac[5]) == ETH_ALEN;
}

/* RFC 1071, over a header of an even number of bytes. */
static __u16 checksum(const void *header, size_t bytes)
{
	const __u16 *words = header;
	__u32 sum = 0;

	for (size_t i = 0; i < bytes / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~(sum + (sum >> 16));
}

static const __u32 mix_bytes[MIX_SIZES] = { 64, 570, FRAME_BYTES_MAX };

/* The lengths and the checksum of each size of the mix, so that the program in the kernel only stores them. */
static void fill_mix(struct generator_settings *settings, const unsigned char *frame)
{
	struct iphdr ipv4 = *(const struct iphdr *)(frame + sizeof(struct ethhdr));

	settings->is_mix = 1;
	for (int i = 0; i < MIX_SIZES; i++) {
		const size_t bytes = mix_bytes[i] - sizeof(struct ethhdr);

		ipv4.tot_len = htons((__u16)bytes);
		ipv4.check = 0;
		settings->sizes[i].frame_bytes = mix_bytes[i];
		settings->sizes[i].ipv4_length = ipv4.tot_len;
		settings->sizes[i].ipv4_checksum = checksum(&ipv4, sizeof(ipv4));
		settings->sizes[i].udp_length = htons((__u16)(bytes - sizeof(ipv4)));
	}
}

static int build_frame(unsigned char *frame, size_t bytes, char **arguments)
{
	struct ethhdr *ethernet = (void *)frame;
	struct iphdr *ipv4 = (void *)(ethernet + 1);
	struct udphdr *udp = (void *)(ipv4 + 1);
	struct bench_payload *payload = (void *)(udp + 1);

	if (!parse_mac(arguments[SOURCE_MAC], ethernet->h_source) ||
	    !parse_mac(arguments[DESTINATION_MAC], ethernet->h_dest) ||
	    inet_pton(AF_INET, arguments[SOURCE], &ipv4->saddr) != 1 ||
	    inet_pton(AF_INET, arguments[DESTINATION], &ipv4->daddr) != 1)
		return 0;
	ethernet->h_proto = htons(ETH_P_IP);
	ipv4->version = 4;
	ipv4->ihl = 5;
	ipv4->ttl = 64;
	ipv4->protocol = IPPROTO_UDP;
	ipv4->tot_len = htons((__u16)(bytes - sizeof(*ethernet)));
	ipv4->check = checksum(ipv4, sizeof(*ipv4));
	udp->len = htons((__u16)(bytes - sizeof(*ethernet) - sizeof(*ipv4)));
	payload->magic = htonl(BENCH_MAGIC);
	return 1;
}

/* The call ends with EINTR when the timer fires; with 0 after its number of runs, and is then made again. */
static int run(int program, unsigned char *frame, size_t bytes, double seconds)
{
	const struct itimerval timer = { .it_value.tv_sec = (time_t)seconds,
					 .it_value.tv_usec = (suseconds_t)((seconds - (time_t)seconds) * 1e6) };
	const struct sigaction action = { .sa_handler = stop };

	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (!stopped) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = (__u32)bytes,
			    .repeat = (int)RUNS_PER_CALL, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
			    .batch_size = FRAMES_PER_BATCH);
		int error = bpf_prog_test_run_opts(program, &options);

		if (error && error != -EINTR && error != -EAGAIN) {
			fprintf(stderr, "BPF_PROG_RUN: %s\n", strerror(-error));
			return 0;
		}
	}
	return 1;
}

static unsigned long long frames_sent(const struct bpf_object *object)
{
	const struct bpf_map *map = find_globals(object, ".bss");
	struct generator_state state = { 0 };
	const __u32 zero = 0;

	if (!map || bpf_map_lookup_elem(bpf_map__fd(map), &zero, &state))
		return 0;
	return state.frames_sent;
}

int main(int argc, char **argv)
{
	unsigned char frame[FRAME_BYTES_MAX] = { 0 };
	struct generator_settings settings = { 0 };
	struct bpf_object *object;
	double rate, seconds, begin;
	size_t bytes;
	unsigned long flows;
	int is_done, is_mix;

	if (argc != COUNT) {
		fprintf(stderr,
			"usage: %s device source-mac destination-mac source destination "
			"bytes|imix flows frames-per-second seconds\n",
			argv[PROGRAM]);
		return 2;
	}
	is_mix = strcmp(argv[BYTES], "imix") == 0;
	bytes = is_mix ? FRAME_BYTES_MAX : strtoul(argv[BYTES], NULL, 10);
	flows = strtoul(argv[FLOWS], NULL, 10);
	rate = strtod(argv[RATE], NULL);
	seconds = strtod(argv[SECONDS], NULL);
	if (bytes < FRAME_BYTES_MIN || bytes > FRAME_BYTES_MAX || flows < 1 || flows > FLOWS_MAX ||
	    seconds <= 0 || !build_frame(frame, bytes, argv)) {
		fprintf(stderr, "an argument is out of range\n");
		return 2;
	}
	settings.out_device = if_nametoindex(argv[DEVICE]);
	settings.flow_count = (__u32)flows;
	settings.interval_fixed_point = rate > 0 ? (__u64)(65536e9 / rate) : 0;
	settings.frame_bytes = (__u32)bytes;
	memcpy(settings.headers, frame, HEADER_BYTES);
	if (is_mix)
		fill_mix(&settings, frame);
	object = open_object("generate.bpf.o");
	if (!object || settings.out_device == 0 ||
	    !set_globals(object, ".rodata", &settings, sizeof(settings)) || bpf_object__load(object)) {
		fprintf(stderr, "no device %s, or the program was refused\n", argv[DEVICE]);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	begin = now_seconds();
	is_done = run(program_fd(object, "generate"), frame, bytes, seconds);
	printf("{\"frames\":%llu,\"seconds\":%.3f}\n", frames_sent(object), now_seconds() - begin);
	bpf_object__close(object);
	return is_done ? 0 : 1;
}
