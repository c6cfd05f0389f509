// The poller's cold part: sockets come and go, and every frame they held comes back.
#include <sys/eventfd.h>
#include <time.h>

#include <algorithm>

#include "poller.h"

namespace xdp {

namespace {

constexpr int64_t kDrainNanoseconds = 100'000'000;
constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr uint32_t kPortsMax = 65536;

int64_t monotonicNanoseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

}  // namespace

std::shared_ptr<Poller> Poller::create(std::shared_ptr<Umem> umem, int32_t* words,
                                       uint32_t wordCount, Failure* failure) {
  std::shared_ptr<Poller> poller(new Poller());
  poller->wake_ = FileDescriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!poller->wake_.valid()) {
    failure->set("eventfd", errno);
    return nullptr;
  }
  poller->umem_ = std::move(umem);
  poller->geometry_ = poller->umem_->geometry();
  poller->pool_ = poller->umem_->pool();
  poller->chains_ = poller->umem_->chains();
  poller->capacity_ = (wordCount - kHeaderWords) / 3;
  poller->words_ = words;
  poller->starts_ = words + kHeaderWords;
  poller->lengths_ = poller->starts_ + poller->capacity_;
  poller->ports_ = poller->lengths_ + poller->capacity_;
  poller->listPollFds();
  return poller;
}

// JavaScript may have freed the burst words by now, so they are not touched any more.
Poller::~Poller() {
  int32_t header[kHeaderWords] = {};
  words_ = header;
  removeAll();
}

bool Poller::add(std::shared_ptr<Socket> socket, uint32_t port, Failure* failure) {
  if (!addAdopted(std::move(socket), port, failure)) return false;
  // Frames may arrive as soon as the program knows the socket, which is after this.
  for (const std::shared_ptr<Socket>& each : sockets_) {
    if (!refill(each.get())) return failure->set("add", EINVAL, "the frame pool is damaged");
  }
  return true;
}

bool Poller::addAdopted(std::shared_ptr<Socket> socket, uint32_t port, Failure* failure) {
  if (error_ != 0) return failure->set("add", EINVAL, "the poller is closed or has failed");
  if (socket->inPoller || !socket->isOpen()) {
    return failure->set("add", EINVAL, "the socket is closed or in a poller already");
  }
  if (&socket->umem() != umem_.get()) return failure->set("add", EINVAL, "another UMEM");
  if (port >= kPortsMax) return failure->set("add", EINVAL, "port index above 65535");
  if (portSockets_.size() <= port) portSockets_.resize(port + 1);
  portSockets_[port].push_back(socket.get());
  socket->inPoller = true;
  socket->port = static_cast<int32_t>(port);
  sockets_.push_back(std::move(socket));
  shareFrames();
  listPollFds();
  return true;
}

void Poller::resume() {
  umem_->takeOver();
  for (const std::shared_ptr<Socket>& socket : sockets_) socket->resume();
}

void Poller::handOver() {
  umem_->handOver();
  words_[kCount] = 0;
  removeAll();
  error_ = kClosed;
  wake_.reset();
}

Audit Poller::audit() const {
  Audit audit;
  std::vector<uint32_t> owned(size_t{UINT16_MAX} + 1);
  const uint32_t frames = geometry_.frameCount();
  for (uint32_t frame = 0; frame < frames; frame++) owned[umem_->owner(frame)]++;
  audit.free = pool_.freeCount();
  audit.inBurst = owned[kOwnedByUs] - audit.free;
  for (const std::shared_ptr<Socket>& socket : sockets_) {
    const uint32_t held = socket->receiveSideFrames() + socket->transmitSideFrames();
    audit.onRings += held;
    // While it skips the rest of a packet of too many buffers, only this process knows that the next
    // descriptors are no packet of their own.
    if (owned[socket->tag()] != held || socket->isSkipping) audit.socketsWrong++;
  }
  return audit;
}

Teardown Poller::remove(Socket* socket) {
  Teardown done;
  const auto entry = std::find_if(sockets_.begin(), sockets_.end(),
                                  [socket](const auto& each) { return each.get() == socket; });
  if (entry == sockets_.end()) return done;
  std::vector<Socket*>& list = portSockets_[static_cast<size_t>(socket->port)];
  list.erase(std::remove(list.begin(), list.end(), socket), list.end());
  const int64_t deadline = monotonicNanoseconds() + kDrainNanoseconds;
  const bool isOurs = !umem_->isOthers();
  while (isOurs && error_ == 0 && socket->transmitSideFrames() > 0 && !socket->down) {
    serveTransmit(socket);
    if (socket->transmitSideFrames() == 0 || monotonicNanoseconds() > deadline) break;
    const timespec pause{0, 200'000};
    ::nanosleep(&pause, nullptr);
  }
  done.sendsAbandoned = socket->transmitSideFrames();
  done.framesReturned = socket->close();
  socket->inPoller = false;
  sockets_.erase(entry);
  firstToReceive_ = 0;
  shareFrames();
  listPollFds();
  return done;
}

Teardown Poller::close() {
  Teardown total;
  if (error_ == kClosed) return total;
  // After a broken invariant nobody knows who owns the burst's frames, so they stay out of the
  // pool.
  const uint32_t count = static_cast<uint32_t>(words_[kCount]);
  for (uint32_t i = 0; error_ == 0 && i < count && count <= capacity_; i++) {
    giveBackPacket(i);
  }
  words_[kCount] = 0;
  total = removeAll();
  error_ = kClosed;
  wake_.reset();
  return total;
}

Teardown Poller::removeAll() {
  Teardown total;
  while (!sockets_.empty()) {
    const std::shared_ptr<Socket> last = sockets_.back();
    const Teardown one = remove(last.get());
    total.framesReturned += one.framesReturned;
    total.sendsAbandoned += one.sendsAbandoned;
  }
  return total;
}

void Poller::shareFrames() {
  const uint32_t sockets = std::max(static_cast<uint32_t>(sockets_.size()), 1U);
  fillShare_ = std::max(geometry_.frameCount() / 2 / sockets, 1U);
}

void Poller::listPollFds() {
  pollFds_.clear();
  pollFds_.push_back({wake_.get(), POLLIN, 0});
  for (const std::shared_ptr<Socket>& socket : sockets_) {
    // poll(2) skips a negative descriptor; a device that is gone would end every wait at once.
    pollFds_.push_back({socket->down ? -1 : socket->fd(), POLLIN, 0});
  }
}

}  // namespace xdp
