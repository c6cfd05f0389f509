// Memory that is shared with other processes, in huge pages (transparent ones) where the kernel has
// some: tables read at random places pay for an address translation at nearly each access.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "resource.h"

// Linux 6.1: huge pages for shared memory, whatever the system's setting for it.
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// Linux 5.14.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace xdp {

constexpr size_t kHugePageBytes = size_t{2} << 20;

inline size_t roundUp(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// Maps a file of ordinary pages at a multiple of a huge page's size, which mmap does not choose by itself
// for shared memory. Invalid, with errno, when that fails.
inline Mapping mapAligned(int file, size_t bytes) {
  constexpr int kReserve = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const size_t span = bytes + kHugePageBytes;
  void* space = ::mmap(nullptr, span, PROT_NONE, kReserve, -1, 0);
  if (space == MAP_FAILED) return Mapping();
  uint8_t* first = static_cast<uint8_t*>(space);
  const uintptr_t address = reinterpret_cast<uintptr_t>(first);
  const size_t before = roundUp(address, kHugePageBytes) - address;
  uint8_t* begin = first + before;
  const size_t kept = roundUp(bytes, 4096);
  Mapping mapping(
      ::mmap(begin, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0), bytes);
  const int error = errno;
  if (before > 0) ::munmap(first, before);
  if (kept < span - before) ::munmap(begin + kept, span - before - kept);
  // Where the mapping failed, what lies between is left alone: Linux takes the reservation away before it
  // asks the file, and another thread's memory may be there by now.
  errno = error;
  return mapping;
}

// Maps a file of huge pages (MFD_HUGETLB), for which mmap chooses such a place by itself. Invalid, with
// errno, where too few are set aside; which is so on most machines, at each start.
inline Mapping mapHuge(int file, size_t bytes) {
  return Mapping(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), bytes);
}

// Every page now, and in huge ones where the kernel can make some; a refusal costs speed alone.
inline void collapse(const Mapping& mapping) {
  ::madvise(mapping.data(), mapping.size(), MADV_POPULATE_WRITE);
  ::madvise(mapping.data(), mapping.size() / kHugePageBytes * kHugePageBytes, MADV_COLLAPSE);
}

}  // namespace xdp
