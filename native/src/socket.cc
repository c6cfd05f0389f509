// See socket.h. Binding as in Documentation/networking/af_xdp.rst, without libxdp.
#include "socket.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "chains.h"

// Newer than the distribution's headers (include/uapi/linux/if_xdp.h,
// include/uapi/asm-generic/socket.h).
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

namespace xdp {

namespace {

constexpr int kSendBufferBytes = 4 << 20;
constexpr int kBusyTries = 20;
constexpr useconds_t kBusyPauseMicroseconds = 5000;

bool setOption(int fd, int level, int option, uint32_t value, const char* call, Failure* failure) {
  if (::setsockopt(fd, level, option, &value, sizeof value) == 0) return true;
  return failure->set(call, errno);
}

RingMemory ringMemory(const Mapping& mapping, const xdp_ring_offset& offset, uint32_t size) {
  uint8_t* base = static_cast<uint8_t*>(mapping.data());
  RingMemory memory;
  memory.producer = reinterpret_cast<uint32_t*>(base + offset.producer);
  memory.consumer = reinterpret_cast<uint32_t*>(base + offset.consumer);
  memory.flags = reinterpret_cast<uint32_t*>(base + offset.flags);
  memory.entries = base + offset.desc;
  memory.size = size;
  return memory;
}

void forget(std::vector<BoundSocket>& sockets, int fd) {
  const auto isIt = [fd](const BoundSocket& each) { return each.fd == fd; };
  sockets.erase(std::remove_if(sockets.begin(), sockets.end(), isIt), sockets.end());
}

}  // namespace

std::shared_ptr<Socket> Socket::open(std::shared_ptr<Umem> umem, const SocketOptions& options,
                                     Failure* failure) {
  std::shared_ptr<Socket> socket(new Socket());
  socket->umem_ = std::move(umem);
  socket->options_ = options;
  Umem& memory = *socket->umem_;
  bool bound = false;
  // The kernel would say EINVAL, as for a queue that does not exist.
  if (memory.isBound(options.interfaceIndex, options.queue)) {
    failure->set("bind", EBUSY, "a socket of this UMEM");
    return nullptr;
  }
  socket->modeReason_ = "copy mode was asked for";
  // The kernel skips a frame that crosses pages which are not neighbours for the device, and the
  // frame would be lost.
  if (options.tryZeroCopy && memory.unaligned() && !memory.hugePages()) {
    socket->modeReason_ =
        "zero copy needs huge pages, or a stride that is a power of two: frames would cross pages";
  } else if (options.tryZeroCopy) {
    bound = socket->bindInMode(true, failure);
    // Only the driver's "cannot" leads to copy mode; a wrong queue or missing right fails in either
    // mode.
    if (!bound && failure->number != EOPNOTSUPP && failure->number != EINVAL) return nullptr;
    socket->modeReason_ =
        bound ? "" : std::string("the driver refused zero copy: ") + std::strerror(failure->number);
  }
  if (!bound && !socket->bindInMode(false, failure)) return nullptr;
  if (!socket->readMode(failure)) return nullptr;
  if (options.busyPollMicroseconds > 0 && !socket->setBusyPoll(failure)) return nullptr;
  socket->tag_ = memory.takeTag();
  return socket->makeOurs(failure) ? socket : nullptr;
}

std::shared_ptr<Socket> Socket::adopt(std::shared_ptr<Umem> umem, const SocketOptions& options,
                                      int descriptor, OwnerTag tag, Failure* failure) {
  std::shared_ptr<Socket> socket(new Socket());
  socket->umem_ = std::move(umem);
  socket->options_ = options;
  socket->modeReason_ = "as the process before had it";
  socket->fd_ = FileDescriptor(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!socket->fd_.valid()) {
    failure->set("fcntl", errno, "an AF_XDP socket");
    return nullptr;
  }
  if (!socket->mapRings(failure)) {
    // Until Linux 6.4, see `bindOnce`.
    if (failure->number == EBUSY) failure->set("adopt", EOPNOTSUPP, "rings of a bound socket");
    return nullptr;
  }
  if (!socket->readMode(failure)) return nullptr;
  // The process before may have been told otherwise.
  if (!socket->setBusyPoll(failure)) return nullptr;
  if (socket->zeroCopy_) socket->modeReason_.clear();
  socket->tag_ = tag != kOwnedByUs && socket->umem_->takeTag(tag) ? tag : kOwnedByUs;
  return socket->makeOurs(failure) ? socket : nullptr;
}

bool Socket::makeOurs(Failure* failure) {
  if (tag_ == kOwnedByUs) return failure->set("open", EMFILE, "no owner tag is left");
  umem_->boundSockets(zeroCopy_).push_back({fd(), options_.interfaceIndex, options_.queue});
  return true;
}

Socket::~Socket() { close(); }

bool Socket::createRings(Failure* failure) {
  const auto create = [this, failure](int option, uint32_t size, const char* call) {
    return setOption(fd_.get(), SOL_XDP, option, size, call, failure);
  };
  return create(XDP_UMEM_FILL_RING, options_.fillRingSize, "setsockopt XDP_UMEM_FILL_RING") &&
         create(XDP_UMEM_COMPLETION_RING, options_.completionRingSize,
                "setsockopt XDP_UMEM_COMPLETION_RING") &&
         create(XDP_RX_RING, options_.rxRingSize, "setsockopt XDP_RX_RING") &&
         create(XDP_TX_RING, options_.txRingSize, "setsockopt XDP_TX_RING");
}

// A bound socket cannot be bound again, so each try is a new one.
bool Socket::bindOnce(bool zeroCopy, bool multiBuffer, Failure* failure) {
  fd_ = FileDescriptor(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd_.valid()) return failure->set("socket AF_XDP", errno);
  const std::vector<BoundSocket>& others = umem_->boundSockets(zeroCopy);
  const bool shared = !others.empty();
  if (!shared && !umem_->registerWith(fd_.get(), failure)) return false;
  // Before the socket is bound: until Linux 6.4 the rings of a bound one cannot be mapped.
  if (!createRings(failure) || !mapRings(failure)) return false;
  // Copy mode transmits at most 32 frames a call otherwise; old kernels do not know the option, and
  // need more calls.
  Failure ignored;
  setOption(fd_.get(), SOL_XDP, XDP_MAX_TX_SKB_BUDGET, options_.txRingSize, "", &ignored);
  // Frames in flight are charged to the send buffer; root's limit may exceed the system's.
  setOption(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, kSendBufferBytes, "", &ignored);
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_ifindex = options_.interfaceIndex;
  address.sxdp_queue_id = options_.queue;
  if (shared) {
    // Mode and need-wakeup come from the socket it shares with; the kernel refuses other flags.
    address.sxdp_flags = XDP_SHARED_UMEM;
    address.sxdp_shared_umem_fd = static_cast<uint32_t>(others.front().fd);
  } else {
    address.sxdp_flags = static_cast<uint16_t>(XDP_USE_NEED_WAKEUP |
                                               (zeroCopy ? XDP_ZEROCOPY : XDP_COPY) |
                                               (multiBuffer ? XDP_USE_SG : 0));
  }
  if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return failure->set("bind", errno);
  }
  if (!shared && !zeroCopy) umem_->setMultiBuffer(multiBuffer);
  return true;
}

// Zero copy keeps to one buffer a packet: how many a driver takes it tells elsewhere, and a packet of
// more would be lost with its frames.
bool Socket::bindWithBuffers(bool zeroCopy, Failure* failure) {
  const bool isFirst = umem_->boundSockets(zeroCopy).empty();
  if (zeroCopy || !isFirst || !options_.tryMultiBuffer) return bindOnce(zeroCopy, false, failure);
  if (bindOnce(false, true, failure)) return true;
  // Kernels before 6.6 know no such flag.
  if (failure->number != EINVAL) return false;
  const int error = failure->number;
  if (!bindOnce(false, false, failure)) return false;
  multiBufferReason_ = std::string("the kernel refused XDP_USE_SG: ") + std::strerror(error);
  return true;
}

// The kernel frees a queue in the background after its last socket was closed (xp_put_pool), so a
// successor that comes at once finds it busy for a moment. One that is really in use is still busy
// after the last try.
bool Socket::bindInMode(bool zeroCopy, Failure* failure) {
  for (int left = kBusyTries; left > 0; left--) {
    if (bindWithBuffers(zeroCopy, failure)) return true;
    for (Mapping& mapping : mappings_) mapping.reset();
    fd_.reset();
    if (failure->number != EBUSY) return false;
    ::usleep(kBusyPauseMicroseconds);
  }
  return false;
}

bool Socket::mapRings(Failure* failure) {
  xdp_mmap_offsets offsets{};
  socklen_t length = sizeof offsets;
  if (::getsockopt(fd_.get(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0) {
    return failure->set("getsockopt XDP_MMAP_OFFSETS", errno);
  }
  struct Part {
    const xdp_ring_offset& offset;
    uint32_t size;
    size_t entryBytes;
    off_t page;
  };
  const Part parts[4] = {
      {offsets.rx, options_.rxRingSize, sizeof(xdp_desc), XDP_PGOFF_RX_RING},
      {offsets.tx, options_.txRingSize, sizeof(xdp_desc), XDP_PGOFF_TX_RING},
      {offsets.fr, options_.fillRingSize, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING},
      {offsets.cr, options_.completionRingSize, sizeof(uint64_t), XDP_UMEM_PGOFF_COMPLETION_RING},
  };
  for (int i = 0; i < 4; i++) {
    const size_t bytes = parts[i].offset.desc + parts[i].size * parts[i].entryBytes;
    mappings_[i] = Mapping(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                                  fd_.get(), parts[i].page),
                           bytes);
    if (!mappings_[i].valid()) return failure->set("mmap", errno, "an AF_XDP ring");
    memory_[i] = ringMemory(mappings_[i], parts[i].offset, parts[i].size);
  }
  resume();
  return true;
}

void Socket::resume() {
  rx = ConsumerRing<xdp_desc>(memory_[0]);
  tx = ProducerRing<xdp_desc>(memory_[1]);
  fill = ProducerRing<uint64_t>(memory_[2]);
  completion = ConsumerRing<uint64_t>(memory_[3]);
}

bool Socket::readMode(Failure* failure) {
  xdp_options bound{};
  socklen_t length = sizeof bound;
  if (::getsockopt(fd_.get(), SOL_XDP, XDP_OPTIONS, &bound, &length) != 0) {
    return failure->set("getsockopt XDP_OPTIONS", errno);
  }
  zeroCopy_ = (bound.flags & XDP_OPTIONS_ZEROCOPY) != 0;
  multiBuffer_ = !zeroCopy_ && umem_->multiBuffer();
  if (!multiBuffer_ && multiBufferReason_.empty()) {
    multiBufferReason_ = zeroCopy_ ? "zero copy takes packets of one buffer"
                                   : "the UMEM's first socket was bound without";
  }
  kickAlways = !zeroCopy_;
  return true;
}

bool Socket::setBusyPoll(Failure* failure) {
  const int isPreferred = options_.busyPollMicroseconds > 0 ? 1 : 0;
  return setOption(fd_.get(), SOL_SOCKET, SO_PREFER_BUSY_POLL, isPreferred,
                   "setsockopt SO_PREFER_BUSY_POLL", failure) &&
         setOption(fd_.get(), SOL_SOCKET, SO_BUSY_POLL, options_.busyPollMicroseconds,
                   "setsockopt SO_BUSY_POLL", failure) &&
         setOption(fd_.get(), SOL_SOCKET, SO_BUSY_POLL_BUDGET, options_.busyPollBudget,
                   "setsockopt SO_BUSY_POLL_BUDGET", failure);
}

bool Socket::kernelStatistics(xdp_statistics* statistics, Failure* failure) const {
  socklen_t length = sizeof *statistics;
  if (::getsockopt(fd_.get(), SOL_XDP, XDP_STATISTICS, statistics, &length) != 0) {
    return failure->set("getsockopt XDP_STATISTICS", errno);
  }
  return true;
}

uint32_t Socket::close() {
  if (!fd_.valid()) return 0;
  forget(umem_->boundSockets(zeroCopy_), fd_.get());
  // The kernel is done with the memory when close returns: it waits for its readers, and copies
  // made for sending hold no reference into a frame.
  fd_.reset();
  for (Mapping& mapping : mappings_) mapping.reset();
  if (tag_ == kOwnedByUs) return 0;
  if (umem_->isOthers()) {
    umem_->giveTag(tag_);
    tag_ = kOwnedByUs;
    return 0;
  }
  uint32_t held = 0;
  FramePool pool = umem_->pool();
  for (uint32_t frame = 0; frame < umem_->geometry().frameCount(); frame++) {
    if (umem_->owner(frame) != tag_) continue;
    umem_->owner(frame) = kOwnedByUs;
    pool.give(umem_->geometry().startOf(frame));
    held++;
  }
  umem_->giveTag(tag_);
  tag_ = kOwnedByUs;
  return held;
}

}  // namespace xdp
