// Mappings at multiples of a huge page's size, beside threads that map memory of their own: no rights needed.
#include "../src/huge_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "../src/resource.h"
#include "check.h"

namespace {

constexpr size_t kBytes = size_t{10} << 20;
constexpr size_t kPageBytes = 4096;
// More than any machine that runs this has set aside in huge pages.
constexpr size_t kTooManyBytes = size_t{1} << 40;

bool isAligned(const xdp::Mapping& mapping) {
  return reinterpret_cast<uintptr_t>(mapping.data()) % xdp::kHugePageBytes == 0;
}

// Maps and gives back memory until told to end; how often some of it was gone meanwhile.
int losses(const std::atomic<bool>& isOver) {
  std::vector<unsigned char> pages(kBytes / kPageBytes);
  int lost = 0;
  while (!isOver.load()) {
    void* own = ::mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int look = 0; look < 3; look++) {
      // ENOMEM where a page of the range is not mapped.
      if (::mincore(own, kBytes, pages.data()) != 0) lost++;
    }
    ::munmap(own, kBytes);
  }
  return lost;
}

TEST("a file is mapped where a huge page may begin") {
  const xdp::FileDescriptor file(::memfd_create("aligned", MFD_CLOEXEC));
  CHECK(::ftruncate(file.get(), kBytes + kPageBytes) == 0);
  const xdp::Mapping first = xdp::mapAligned(file.get(), kBytes);
  const xdp::Mapping second = xdp::mapAligned(file.get(), kBytes + kPageBytes);
  CHECK(first.valid() && second.valid());
  CHECK(isAligned(first) && isAligned(second));
  static_cast<uint8_t*>(first.data())[kBytes - 1] = 7;
  CHECK(static_cast<uint8_t*>(second.data())[kBytes - 1] == 7);
}

TEST("a mapping that fails takes no memory from other threads") {
  const xdp::FileDescriptor file(::memfd_create("refused", MFD_CLOEXEC | MFD_HUGETLB));
  CHECK(::ftruncate(file.get(), static_cast<off_t>(kTooManyBytes)) == 0);
  std::atomic<bool> isOver{false};
  int lost = 0;
  std::thread other([&] { lost = losses(isOver); });
  int mapped = 0;
  for (int i = 0; i < 20000; i++) mapped += xdp::mapHuge(file.get(), kTooManyBytes).valid() ? 1 : 0;
  isOver = true;
  other.join();
  CHECK(mapped == 0);
  CHECK(lost == 0);
}

}  // namespace
