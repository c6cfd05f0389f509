/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Loading of the BPF objects that lie beside the executable; what libbpf leaves to a generated skeleton otherwise. */
#pragma once

#include <bpf/libbpf.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Opened, not loaded; NULL when there is no such file beside the executable. */
static inline struct bpf_object *open_object(const char *name)
{
	char path[PATH_MAX + 64] = { 0 };
	const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);

	if (length <= 0)
		return NULL;
	dirname(path);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s", name);
	return bpf_object__open_file(path, NULL);
}

static inline struct bpf_program *find_program(const struct bpf_object *object, const char *name)
{
	return bpf_object__find_program_by_name(object, name);
}

static inline int program_fd(const struct bpf_object *object, const char *name)
{
	const struct bpf_program *program = find_program(object, name);

	return program ? bpf_program__fd(program) : -1;
}

/* The map of a section of global variables; libbpf puts the object's name before the section's. */
static inline struct bpf_map *find_globals(const struct bpf_object *object, const char *section)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		const char *name = bpf_map__name(map);
		const size_t before = strlen(name) - strlen(section);

		if (strlen(name) >= strlen(section) && strcmp(name + before, section) == 0)
			return map;
	}
	return NULL;
}

static inline int set_globals(const struct bpf_object *object, const char *section,
			      const void *values, size_t bytes)
{
	struct bpf_map *map = find_globals(object, section);

	return map && bpf_map__set_initial_value(map, values, bytes) == 0;
}

/* The section's memory as the loaded programs see it, writable; NULL when it is smaller than `bytes`. */
static inline void *map_globals(const struct bpf_object *object, const char *section, size_t bytes)
{
	const struct bpf_map *map = find_globals(object, section);
	void *memory;

	if (!map || bpf_map__value_size(map) < bytes)
		return NULL;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	return memory == MAP_FAILED ? NULL : memory;
}
