// The packet memory: one mapping that all sockets share, its frames, and who owns each.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "failure.h"
#include "frames.h"
#include "resource.h"

namespace xdp {

// A socket bound over the memory.
struct BoundSocket {
  int fd;
  uint32_t interfaceIndex;
  uint32_t queue;
};

// Who holds a frame: 0 for JavaScript's side (pool or burst), else the tag of the socket it was
// given to.
using OwnerTag = uint16_t;
constexpr OwnerTag kOwnedByUs = 0;

struct UmemOptions {
  uint32_t frameCount = 0;
  uint32_t strideBytes = 0;
  uint32_t headroomBytes = 0;
  bool tryHugePages = false;
};

class Umem {
 public:
  static std::shared_ptr<Umem> create(const UmemOptions& options, Failure* failure);

  uint8_t* data() const { return static_cast<uint8_t*>(memory_.data()); }
  uint64_t bytes() const { return geometry_.bytes(); }
  const FrameGeometry& geometry() const { return geometry_; }
  uint32_t headroomBytes() const { return headroomBytes_; }
  bool hugePages() const { return hugePages_; }
  const std::string& hugePagesReason() const { return hugePagesReason_; }
  // A stride that is no power of two needs XDP_UMEM_UNALIGNED_CHUNK_FLAG.
  bool unaligned() const { return unaligned_; }

  std::vector<int32_t>& poolWords() { return poolWords_; }
  FramePool pool() { return FramePool(poolWords_.data(), geometry_.frameCount()); }
  OwnerTag& owner(uint32_t frame) { return owners_[frame]; }
  // The queue each frame last came in by, to keep a flow's frames on one transmit queue.
  uint16_t& ingressQueue(uint32_t frame) { return ingressQueues_[frame]; }

  // Unmaps the packet memory; the caller has detached every buffer over it and closed every socket.
  void release() { memory_.reset(); }

  // Registers the memory with an AF_XDP socket (XDP_UMEM_REG).
  bool registerWith(int socketFd, Failure* failure) const;

  // Sockets bound over this memory, so that the next one can share (XDP_SHARED_UMEM). One list per
  // copy mode, because a sharing socket takes its mode from the one it shares with.
  std::vector<BoundSocket>& boundSockets(bool zeroCopy) {
    return zeroCopy ? zeroCopySockets_ : copySockets_;
  }
  bool isBound(uint32_t interfaceIndex, uint32_t queue) const;

  OwnerTag takeTag();
  void giveTag(OwnerTag tag) { tagInUse_[tag] = false; }

 private:
  Umem() = default;
  bool map(bool tryHugePages, Failure* failure);
  // Asks the kernel on a throw-away socket, so that a refused stride is told when the UMEM is made.
  bool probe(Failure* failure) const;

  Mapping memory_;
  FrameGeometry geometry_;
  uint32_t headroomBytes_ = 0;
  bool hugePages_ = false;
  bool unaligned_ = false;
  std::string hugePagesReason_;
  std::vector<int32_t> poolWords_;
  std::vector<OwnerTag> owners_;
  std::vector<uint16_t> ingressQueues_;
  std::vector<BoundSocket> copySockets_;
  std::vector<BoundSocket> zeroCopySockets_;
  std::vector<bool> tagInUse_;
};

}  // namespace xdp
