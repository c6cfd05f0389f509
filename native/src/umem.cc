// See umem.h. Registration as in Documentation/networking/af_xdp.rst.
#include "umem.h"

#include <fcntl.h>
#include <linux/if_xdp.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "huge_pages.h"

namespace xdp {

namespace {

// The ledger's header; its version stands for the layout of everything behind the frames.
constexpr uint32_t kLedgerMagic = 0x4c585055;
constexpr uint32_t kLedgerVersion = 2;
constexpr size_t kLedgerWords = 16;

void advise(const Mapping& mapping) {
  ::madvise(mapping.data(), mapping.size(), MADV_HUGEPAGE);
  // A child of fork never touches packets.
  ::madvise(mapping.data(), mapping.size(), MADV_DONTFORK);
}

// Huge pages that are set aside may still be refused, by a limit of the control group: at the first touch,
// with a signal. Kernels before 5.14 cannot tell.
bool isThere(const Mapping& mapping) {
  return ::madvise(mapping.data(), mapping.size(), MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

bool isPowerOfTwo(uint32_t value) { return (value & (value - 1)) == 0; }

}  // namespace

std::shared_ptr<Umem> Umem::create(const UmemOptions& options, Failure* failure) {
  std::shared_ptr<Umem> umem(new Umem());
  const uint32_t count = options.frameCount;
  umem->geometry_ = FrameGeometry(count, options.strideBytes);
  umem->headroomBytes_ = options.headroomBytes;
  umem->unaligned_ = !isPowerOfTwo(options.strideBytes);
  if (!umem->makeFile(options.tryHugePages, failure)) return nullptr;
  if (!umem->probe(failure)) return nullptr;
  umem->findLedger();
  uint32_t* ledger = umem->ledger_;
  ledger[kMagic] = kLedgerMagic;
  ledger[kVersion] = kLedgerVersion;
  ledger[kFrames] = count;
  ledger[kStride] = options.strideBytes;
  ledger[kHeadroom] = options.headroomBytes;
  // Owners and queues are zero as the file is: all frames are ours.
  FramePool pool = umem->pool();
  for (uint32_t frame = count; frame-- > 0;) pool.give(umem->geometry_.startOf(frame));
  return umem;
}

std::shared_ptr<Umem> Umem::open(const UmemOptions& options, int descriptor, Failure* failure) {
  std::shared_ptr<Umem> umem(new Umem());
  umem->geometry_ = FrameGeometry(options.frameCount, options.strideBytes);
  umem->headroomBytes_ = options.headroomBytes;
  umem->unaligned_ = !isPowerOfTwo(options.strideBytes);
  umem->file_ = FileDescriptor(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  struct stat status {};
  struct statfs system {};
  if (!umem->file_.valid() || ::fstat(descriptor, &status) != 0 ||
      ::fstatfs(descriptor, &system) != 0) {
    failure->set("fstat", errno, "the packet memory");
    return nullptr;
  }
  umem->hugePages_ = system.f_type == HUGETLBFS_MAGIC;
  umem->hugePagesReason_ = umem->hugePages_ ? "" : "as the process before had it";
  // Touching a page past the end of the file would be a SIGBUS.
  if (static_cast<size_t>(status.st_size) != umem->fileBytes()) {
    failure->set("adopt", EPROTO, "the packet memory has another size");
    return nullptr;
  }
  const size_t bytes = umem->fileBytes();
  const int file = umem->file_.get();
  if (!umem->hold(umem->hugePages_ ? mapHuge(file, bytes) : mapAligned(file, bytes), failure)) {
    return nullptr;
  }
  umem->findLedger();
  if (umem->isLedgerOurs()) return umem;
  failure->set("adopt", EPROTO, "the packet memory is laid out otherwise");
  return nullptr;
}

bool Umem::adopt(int descriptor, Failure* failure) {
  UmemOptions options;
  options.frameCount = geometry_.frameCount();
  options.strideBytes = geometry_.strideBytes();
  options.headroomBytes = headroomBytes_;
  const std::shared_ptr<Umem> other = open(options, descriptor, failure);
  if (other == nullptr) return false;
  other->moveTo(this);
  return true;
}

// Takes away what is there and puts the file in its place in one call: no other thread finds room between.
void Umem::moveTo(Umem* place) {
  const size_t bytes = memory_.size();
  void* there = place->memory_.data();
  constexpr int kReplace = MAP_SHARED | MAP_FIXED;
  // What was there may be gone, and buffers of JavaScript lie over it.
  if (::mmap(there, bytes, PROT_READ | PROT_WRITE, kReplace, file_.get(), 0) == MAP_FAILED) {
    std::abort();
  }
  advise(place->memory_);
  // Page tables now, and not under way. Older kernels do not know it, and do without.
  ::madvise(there, bytes, MADV_POPULATE_WRITE);
  place->file_ = std::move(file_);
  place->hugePages_ = hugePages_;
  place->hugePagesReason_ = hugePagesReason_;
  // Whatever fails here before `takeOver`, the frames are the other process's.
  place->handOver();
}

size_t Umem::ledgerStart() const {
  return roundUp(geometry_.bytes(), static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
}

size_t Umem::fileBytes() const {
  const size_t perFrame = sizeof(OwnerTag) + sizeof(uint16_t);
  const size_t bytes = ledgerStart() + kLedgerWords * sizeof(uint32_t) + poolBytes() +
                       chainBytes() + perFrame * geometry_.frameCount();
  // Of whole huge pages in any case: then they can be had afterwards, too.
  return roundUp(bytes, kHugePageBytes);
}

void Umem::findLedger() {
  const uint32_t count = geometry_.frameCount();
  ledger_ = reinterpret_cast<uint32_t*>(data() + ledgerStart());
  poolWords_ = reinterpret_cast<int32_t*>(ledger_ + kLedgerWords);
  chainWords_ = poolWords_ + count + 1;
  owners_ = reinterpret_cast<OwnerTag*>(chainWords_ + FrameChains::wordsFor(count));
  ingressQueues_ = owners_ + count;
}

bool Umem::isLedgerOurs() const {
  return ledger_[kMagic] == kLedgerMagic && ledger_[kVersion] == kLedgerVersion &&
         ledger_[kFrames] == geometry_.frameCount() &&
         ledger_[kStride] == geometry_.strideBytes() && ledger_[kHeadroom] == headroomBytes_;
}

bool Umem::makeFile(bool tryHugePages, Failure* failure) {
  const size_t bytes = fileBytes();
  hugePagesReason_ = "not asked for";
  if (tryHugePages) {
    Failure refused;
    file_ = FileDescriptor(::memfd_create("umem", MFD_CLOEXEC | MFD_HUGETLB));
    hugePages_ = file_.valid() && ::ftruncate(file_.get(), static_cast<off_t>(bytes)) == 0 &&
                 hold(mapHuge(file_.get(), bytes), &refused) && isThere(memory_);
    const int error = refused.number != 0 ? refused.number : errno;
    hugePagesReason_ = hugePages_ ? "" : std::string("memfd MFD_HUGETLB: ") + std::strerror(error);
  }
  return hugePages_ || makeNormalFile(bytes, tryHugePages, failure);
}

bool Umem::makeNormalFile(size_t bytes, bool tryHugePages, Failure* failure) {
  file_ = FileDescriptor(::memfd_create("umem", MFD_CLOEXEC));
  if (!file_.valid()) return failure->set("memfd_create", errno);
  if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) {
    return failure->set("ftruncate", errno, "the packet memory");
  }
  if (!hold(mapAligned(file_.get(), bytes), failure)) return false;
  // Every page now, while a lack of memory is still an error and not a signal.
  std::memset(memory_.data(), 0, bytes);
  // Transparent huge pages where the kernel can make some: before anybody pins the small ones.
  if (tryHugePages) ::madvise(memory_.data(), bytes, MADV_COLLAPSE);
  return true;
}

bool Umem::hold(Mapping mapping, Failure* failure) {
  if (!mapping.valid()) return failure->set("mmap", errno, "the packet memory");
  advise(mapping);
  memory_ = std::move(mapping);
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

bool Umem::takeTag(OwnerTag tag) {
  if (tagInUse_.size() <= tag) tagInUse_.resize(size_t{tag} + 1, false);
  tagInUse_[kOwnedByUs] = true;
  if (tagInUse_[tag]) return false;
  tagInUse_[tag] = true;
  return true;
}

}  // namespace xdp
