// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Attaches one of the programs of redirect.bpf.c to a device, prints "ready", and waits for its end:
 * of a signal, or of its standard input.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "../../generator/object.h"

enum argument { PROGRAM, MODE, IN, OUT, COUNT };

/* A link of XDP ends with this process, a tc filter with its namespace. */
static int attach(const struct bpf_object *object, const char *mode, int in, __u32 out)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = in, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program_fd(object, mode));
	const __u32 zero = 0;

	if (strcmp(mode, "devmap") != 0)
		return bpf_tc_hook_create(&tc) == 0 && bpf_tc_attach(&tc, &filter) == 0;
	return bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "devices"), &zero, &out,
				   BPF_ANY) == 0 &&
	       bpf_program__attach_xdp(find_program(object, mode), in) != NULL;
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	__u32 in, out;
	char line[64];

	if (argc != COUNT) {
		fprintf(stderr, "usage: %s redirect|redirect_peer|devmap device-in device-out\n",
			argv[PROGRAM]);
		return 2;
	}
	in = if_nametoindex(argv[IN]);
	out = if_nametoindex(argv[OUT]);
	object = open_object("redirect.bpf.o");
	if (!object || in == 0 || out == 0 || !set_globals(object, ".rodata", &out, sizeof(out)) ||
	    bpf_object__load(object) || !attach(object, argv[MODE], (int)in, out)) {
		fprintf(stderr, "cannot attach %s to %s\n", argv[MODE], argv[IN]);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		;
	return 0;
}
