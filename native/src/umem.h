// The packet memory: one mapping that all sockets share, its frames, and who owns each.
//
// It is a memfd, and behind the frames lies the ledger: free frames, owners, queues. So another
// process that gets the descriptor, and those of the sockets, can go on where this one stopped.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chains.h"
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
  // The memory that another process made with the same options; `descriptor` is duplicated.
  // Nothing in it is changed. EPROTO: it was laid out otherwise.
  static std::shared_ptr<Umem> adopt(const UmemOptions& options, int descriptor, Failure* failure);

  // Maps another process's memory over this one, at the same addresses, so that buffers and compiled
  // code over it stay right. No socket may use this one yet; what it held is gone.
  bool adopt(int descriptor, Failure* failure);

  int fd() const { return file_.get(); }
  // Another process has frames and rings now: what is closed here from now on gives nothing back. So it
  // is after `adopt`, too, until that process has stopped.
  void handOver() { isOthers_ = true; }
  void takeOver() { isOthers_ = false; }
  bool isOthers() const { return isOthers_; }

  uint8_t* data() const { return static_cast<uint8_t*>(memory_.data()); }
  uint64_t bytes() const { return geometry_.bytes(); }
  const FrameGeometry& geometry() const { return geometry_; }
  uint32_t headroomBytes() const { return headroomBytes_; }
  bool hugePages() const { return hugePages_; }
  const std::string& hugePagesReason() const { return hugePagesReason_; }
  // A stride that is no power of two needs XDP_UMEM_UNALIGNED_CHUNK_FLAG.
  bool unaligned() const { return unaligned_; }

  int32_t* poolWords() { return poolWords_; }
  size_t poolBytes() const { return (size_t{geometry_.frameCount()} + 1) * sizeof(int32_t); }
  int32_t* chainWords() { return chainWords_; }
  size_t chainBytes() const {
    return size_t{FrameChains::wordsFor(geometry_.frameCount())} * sizeof(int32_t);
  }
  FrameChains chains() { return FrameChains(chainWords_); }
  // Sockets in copy mode take packets of several buffers: the first one of a UMEM decides for all
  // (XDP_USE_SG), in whatever process.
  bool multiBuffer() const { return ledger_[kMultiBuffer] != 0; }
  void setMultiBuffer(bool isOn) { ledger_[kMultiBuffer] = isOn ? 1 : 0; }
  FramePool pool() { return FramePool(poolWords_, geometry_.frameCount()); }
  OwnerTag& owner(uint32_t frame) { return owners_[frame]; }
  // The queue each frame last came in by, to keep a flow's frames on one transmit queue.
  uint16_t& ingressQueue(uint32_t frame) { return ingressQueues_[frame]; }

  // Unmaps the packet memory; the caller has detached every buffer over it and closed every socket.
  void release() {
    memory_.reset();
    file_.reset();
  }

  // Registers the memory with an AF_XDP socket (XDP_UMEM_REG).
  bool registerWith(int socketFd, Failure* failure) const;

  // Sockets bound over this memory, so that the next one can share (XDP_SHARED_UMEM). One list per
  // copy mode, because a sharing socket takes its mode from the one it shares with.
  std::vector<BoundSocket>& boundSockets(bool zeroCopy) {
    return zeroCopy ? zeroCopySockets_ : copySockets_;
  }
  bool isBound(uint32_t interfaceIndex, uint32_t queue) const;

  OwnerTag takeTag();
  // That of an adopted socket; false when another one has it.
  bool takeTag(OwnerTag tag);
  void giveTag(OwnerTag tag) { tagInUse_[tag] = false; }

 private:
  // Words of the ledger's header.
  enum LedgerWord : uint32_t {
    kMagic = 0,
    kVersion = 1,
    kFrames = 2,
    kStride = 3,
    kHeadroom = 4,
    kMultiBuffer = 5,
  };

  Umem() = default;
  static std::shared_ptr<Umem> open(const UmemOptions& options, int descriptor, Failure* failure);
  bool makeFile(bool tryHugePages, Failure* failure);
  bool makeNormalFile(size_t bytes, bool tryHugePages, Failure* failure);
  // @return false where it is invalid, with errno
  bool hold(Mapping mapping, Failure* failure);
  void moveTo(Umem* place);
  size_t fileBytes() const;
  size_t ledgerStart() const;
  void findLedger();
  bool isLedgerOurs() const;
  // Asks the kernel on a throw-away socket, so that a refused stride is told when the UMEM is made.
  bool probe(Failure* failure) const;

  FileDescriptor file_;
  Mapping memory_;
  FrameGeometry geometry_;
  uint32_t headroomBytes_ = 0;
  bool hugePages_ = false;
  bool unaligned_ = false;
  std::string hugePagesReason_;
  bool isOthers_ = false;
  uint32_t* ledger_ = nullptr;  // header words; see umem.cc
  int32_t* poolWords_ = nullptr;
  int32_t* chainWords_ = nullptr;
  OwnerTag* owners_ = nullptr;
  uint16_t* ingressQueues_ = nullptr;
  std::vector<BoundSocket> copySockets_;
  std::vector<BoundSocket> zeroCopySockets_;
  std::vector<bool> tagInUse_;
};

}  // namespace xdp
