// The burst exchange: in one call, everything that moves frames between the rings of all sockets,
// the pool, and the burst words that JavaScript works on. One thread uses a poller and its UMEM;
// only `wakeFd` may be written from elsewhere.
#pragma once

#include <poll.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "chains.h"
#include "socket.h"

namespace xdp {

// Layout of the burst words: src/packet/burst.ts and lib/poller.ts read the same.
constexpr uint32_t kHeaderWords = 16;
enum HeaderWord : uint32_t {
  kCount = 0,
  kNowSeconds = 1,
  kNowNanoseconds = 2,
  kDropped = 3,        // frames this exchange could not place on a transmit ring
  kUnsent = 4,         // frames on transmit rings that the kernel has not taken yet
  kMoreWaiting = 5,    // 1 when the burst was filled: more frames may wait
  kSocketsDown = 6,    // sockets whose device is gone
  kWoken = 7,          // 1 when the last wait was ended by wakePoller
  kErrorIndex = 8,     // of the frame that broke a rule
  kErrorStart = 9,
  kErrorLength = 10,
  kErrorPort = 11,
};

constexpr int32_t kNoPort = -1;

// What exchange returns instead of a count when an invariant is broken; lib/poller.ts has the
// sentences.
enum ExchangeError : int32_t {
  kBadCount = -1,
  kBadPort = -2,
  kOutsideFrame = -3,
  kNotOurs = -4,
  kBadPool = -5,
  kKernelFrame = -6,
  kClosed = -7,
  kBrokenChain = -8,
};

struct Teardown {
  uint32_t framesReturned = 0;
  // Of those, frames that the kernel had not finished sending within the time allowed.
  uint32_t sendsAbandoned = 0;
};

// Every frame has one owner, and every socket as many as its rings say.
struct Audit {
  uint32_t free = 0;
  uint32_t onRings = 0;
  uint32_t inBurst = 0;     // ours, and not in the pool
  uint32_t socketsWrong = 0;
  bool isSound(uint32_t frames) const {
    return socketsWrong == 0 && free + onRings + inBurst == frames;
  }
};

class Poller {
 public:
  static std::shared_ptr<Poller> create(std::shared_ptr<Umem> umem, int32_t* words,
                                        uint32_t wordCount, Failure* failure);
  ~Poller();

  bool add(std::shared_ptr<Socket> socket, uint32_t port, Failure* failure);
  // A socket that its process still uses: its rings are left alone until `resume`.
  bool addAdopted(std::shared_ptr<Socket> socket, uint32_t port, Failure* failure);
  // Waits at most 100 ms for frames being sent, then closes the socket and takes back all it held.
  Teardown remove(Socket* socket);
  Teardown close();

  // Adopted sockets: the process before has stopped, and their rings are ours from now on.
  void resume();
  // Closes everything and gives nothing back: another process has frames and rings.
  void handOver();
  Audit audit() const;

  int32_t exchange(uint32_t receiveMax);
  // Sleeps in poll(2); true when something may be there. A signal ends it too.
  bool wait(int timeoutMilliseconds);

  int wakeFd() const { return wake_.get(); }
  uint32_t framesOnRings() const;
  uint64_t unroutedDrops() const { return unroutedDrops_; }

 private:
  Poller() = default;
  Teardown removeAll();
  void shareFrames();
  bool submitBurst();
  bool submitFrame(uint32_t index);
  Socket* socketFor(int32_t port, uint32_t frame);
  void countDrop(Socket* socket);
  bool giveBack(uint32_t frame);
  void serveTransmit(Socket* socket);
  void kick(Socket* socket);
  bool reclaim(Socket* socket);
  bool refill(Socket* socket);
  uint32_t receiveFrom(Socket* socket, uint32_t index, uint32_t most);
  uint32_t receive(uint32_t receiveMax);
  // In poller_chains.cc.
  uint32_t receiveChain(Socket* socket, uint32_t index, uint32_t* packets);
  uint32_t skipChain(Socket* socket);
  bool takeBuffer(Socket* socket, Chain* chain);
  bool fillHead(Chain* chain);
  bool isChained(uint32_t index) const;
  bool submitChain(uint32_t index);
  bool trim(Chain* chain, uint32_t length);
  bool sendChain(const Chain& chain, uint32_t index);
  bool giveBackFrom(const Chain& chain, uint32_t first);
  void giveBackPacket(uint32_t index);
  void stampTime();
  void findLostDevices();
  void setDown(Socket* socket);
  bool fail(ExchangeError error, uint32_t index, int32_t start, int32_t length, int32_t port);
  bool mustRetrySoon() const;
  void listPollFds();

  std::shared_ptr<Umem> umem_;
  FrameGeometry geometry_;
  FramePool pool_;
  FrameChains chains_;
  int32_t* words_ = nullptr;
  int32_t* starts_ = nullptr;
  int32_t* lengths_ = nullptr;
  int32_t* ports_ = nullptr;
  uint32_t capacity_ = 0;
  std::vector<std::shared_ptr<Socket>> sockets_;
  std::vector<std::vector<Socket*>> portSockets_;
  std::vector<pollfd> pollFds_;
  FileDescriptor wake_;
  uint32_t firstToReceive_ = 0;
  uint32_t fillShare_ = 0;  // of each socket, so that half of all frames stay for sending
  int32_t error_ = 0;
  uint64_t unroutedDrops_ = 0;
  bool fillStarved_ = false;
};

}  // namespace xdp
