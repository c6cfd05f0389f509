// One AF_XDP socket on one (device, queue): its four rings over a shared UMEM. Moves no frame by
// itself; see poller.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "failure.h"
#include "resource.h"
#include "ring.h"
#include "umem.h"

namespace xdp {

struct SocketOptions {
  uint32_t interfaceIndex = 0;
  uint32_t queue = 0;
  uint32_t rxRingSize = 0;
  uint32_t txRingSize = 0;
  uint32_t fillRingSize = 0;
  uint32_t completionRingSize = 0;
  uint32_t fillTarget = 0;  // frames kept on the fill and receive rings
  bool tryZeroCopy = false;
  bool tryMultiBuffer = false;
  uint32_t busyPollMicroseconds = 0;  // 0: no busy polling
  uint32_t busyPollBudget = 0;
};

struct SocketCounters {
  uint64_t receivedFrames = 0;
  uint64_t receivedBytes = 0;
  uint64_t sentFrames = 0;
  uint64_t sentBytes = 0;
  uint64_t sendDropped = 0;
  uint64_t kicks = 0;
  uint64_t kickErrors = 0;
  uint64_t chainsRefused = 0;  // received packets of more buffers than we take
};

class Socket {
 public:
  static std::shared_ptr<Socket> open(std::shared_ptr<Umem> umem, const SocketOptions& options,
                                      Failure* failure);
  // A socket that another process bound over the same memory; `descriptor` is duplicated. It is to
  // be used after `resume` only: until then the other process moves its rings.
  static std::shared_ptr<Socket> adopt(std::shared_ptr<Umem> umem, const SocketOptions& options,
                                       int descriptor, OwnerTag tag, Failure* failure);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_.get(); }
  bool isOpen() const { return fd_.valid(); }
  bool zeroCopy() const { return zeroCopy_; }
  const std::string& modeReason() const { return modeReason_; }
  // Packets of several buffers come and go; the reason is empty then.
  bool multiBuffer() const { return multiBuffer_; }
  const std::string& multiBufferReason() const { return multiBufferReason_; }
  const SocketOptions& options() const { return options_; }
  Umem& umem() const { return *umem_; }
  const std::shared_ptr<Umem>& sharedUmem() const { return umem_; }
  OwnerTag tag() const { return tag_; }
  bool kernelStatistics(xdp_statistics* statistics, Failure* failure) const;

  // Reads the rings' positions anew, now that nobody else moves them.
  void resume();

  // Frames the kernel side holds, counted from the ring indices alone.
  uint32_t receiveSideFrames() const { return fill.produced() - rx.consumed(); }
  uint32_t transmitSideFrames() const { return tx.produced() - completion.consumed(); }

  // Closes the descriptor and takes every frame the kernel still held back into the pool. Returns
  // how many it held.
  uint32_t close();

  ProducerRing<uint64_t> fill;
  ProducerRing<xdp_desc> tx;
  ConsumerRing<xdp_desc> rx;
  ConsumerRing<uint64_t> completion;
  SocketCounters counters;
  bool kickAlways = false;  // copy mode: the kernel sends only inside our system call
  bool down = false;        // the device is gone
  int32_t port = -1;        // its index in the poller
  bool inPoller = false;
  bool isSkipping = false;   // within a packet of more buffers than we take
  bool sendPending = false;  // descriptors written and not yet shown to the kernel

 private:
  Socket() = default;
  bool bindOnce(bool zeroCopy, bool multiBuffer, Failure* failure);
  bool bindWithBuffers(bool zeroCopy, Failure* failure);
  bool bindInMode(bool zeroCopy, Failure* failure);
  bool createRings(Failure* failure);
  bool mapRings(Failure* failure);
  bool makeOurs(Failure* failure);
  bool setBusyPoll(Failure* failure);
  bool readMode(Failure* failure);

  std::shared_ptr<Umem> umem_;
  SocketOptions options_;
  FileDescriptor fd_;
  Mapping mappings_[4];
  RingMemory memory_[4];
  OwnerTag tag_ = kOwnedByUs;
  bool zeroCopy_ = false;
  std::string modeReason_;
  bool multiBuffer_ = false;
  std::string multiBufferReason_;
};

}  // namespace xdp
