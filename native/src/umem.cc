// See umem.h. Registration as in Documentation/networking/af_xdp.rst.
#include "umem.h"

#include <linux/if_xdp.h>
#include <sys/socket.h>

#include <cstring>

namespace xdp {

namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

size_t roundUp(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

bool isPowerOfTwo(uint32_t value) { return (value & (value - 1)) == 0; }

}  // namespace

std::shared_ptr<Umem> Umem::create(const UmemOptions& options, Failure* failure) {
  std::shared_ptr<Umem> umem(new Umem());
  const uint32_t count = options.frameCount;
  umem->geometry_ = FrameGeometry(count, options.strideBytes);
  umem->headroomBytes_ = options.headroomBytes;
  umem->unaligned_ = !isPowerOfTwo(options.strideBytes);
  if (!umem->map(options.tryHugePages, failure)) return nullptr;
  if (!umem->probe(failure)) return nullptr;
  umem->poolWords_.resize(size_t{count} + 1);
  umem->owners_.resize(count, kOwnedByUs);
  umem->ingressQueues_.resize(count, 0);
  FramePool pool = umem->pool();
  for (uint32_t frame = count; frame-- > 0;) pool.give(umem->geometry_.startOf(frame));
  return umem;
}

bool Umem::map(bool tryHugePages, Failure* failure) {
  const int protection = PROT_READ | PROT_WRITE;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  hugePagesReason_ = "not asked for";
  if (tryHugePages) {
    const size_t bytes = roundUp(geometry_.bytes(), kHugePageBytes);
    memory_ = Mapping(
        ::mmap(nullptr, bytes, protection, flags | MAP_HUGETLB | MAP_POPULATE, -1, 0), bytes);
    hugePages_ = memory_.valid();
    hugePagesReason_ = hugePages_ ? "" : std::string("mmap MAP_HUGETLB: ") + std::strerror(errno);
  }
  if (!memory_.valid()) {
    const size_t bytes = roundUp(geometry_.bytes(), static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
    memory_ = Mapping(::mmap(nullptr, bytes, protection, flags, -1, 0), bytes);
    if (!memory_.valid()) return failure->set("mmap", errno);
    // Transparent huge pages where the kernel has some, before the first touch decides the page
    // size.
    if (tryHugePages) ::madvise(memory_.data(), bytes, MADV_HUGEPAGE);
  }
  // A child of fork never touches packets, and pinned pages would have to be copied for it.
  ::madvise(memory_.data(), memory_.size(), MADV_DONTFORK);
  std::memset(memory_.data(), 0, memory_.size());
  return true;
}

bool Umem::registerWith(int socketFd, Failure* failure) const {
  xdp_umem_reg registration{};
  registration.addr = reinterpret_cast<uint64_t>(memory_.data());
  registration.len = geometry_.bytes();
  registration.chunk_size = geometry_.strideBytes();
  registration.headroom = headroomBytes_;
  registration.flags = unaligned_ ? XDP_UMEM_UNALIGNED_CHUNK_FLAG : 0;
  if (::setsockopt(socketFd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof registration) != 0) {
    return failure->set("setsockopt XDP_UMEM_REG", errno);
  }
  return true;
}

bool Umem::probe(Failure* failure) const {
  const FileDescriptor socket(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return failure->set("socket AF_XDP", errno);
  return registerWith(socket.get(), failure);
}

bool Umem::isBound(uint32_t interfaceIndex, uint32_t queue) const {
  for (const std::vector<BoundSocket>* list : {&copySockets_, &zeroCopySockets_}) {
    for (const BoundSocket& each : *list) {
      if (each.interfaceIndex == interfaceIndex && each.queue == queue) return true;
    }
  }
  return false;
}

OwnerTag Umem::takeTag() {
  if (tagInUse_.empty()) tagInUse_.resize(1, true);  // tag 0 is ours
  for (size_t tag = 1; tag < tagInUse_.size(); tag++) {
    if (tagInUse_[tag]) continue;
    tagInUse_[tag] = true;
    return static_cast<OwnerTag>(tag);
  }
  if (tagInUse_.size() > UINT16_MAX) return kOwnedByUs;
  tagInUse_.push_back(true);
  return static_cast<OwnerTag>(tagInUse_.size() - 1);
}

}  // namespace xdp
