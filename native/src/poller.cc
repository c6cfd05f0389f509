// See poller.h. The hot part: one exchange, in the order send, reclaim, refill, receive.
#include "poller.h"

#include <sys/socket.h>
#include <time.h>

#include <algorithm>

namespace xdp {

namespace {

// The kernel's copy mode sends at least this many frames a call, unless something holds it up.
constexpr uint32_t kFramesPerKick = 32;
// Refilling in batches keeps the producer index's cache line with the kernel.
constexpr uint32_t kRefillBatch = 32;
// While frames wait to be sent or no frame is free, nothing in the poll set tells that it is time
// to go on.
constexpr int kRetryMilliseconds = 1;

}  // namespace

bool Poller::fail(ExchangeError error, uint32_t index, int32_t start, int32_t length,
                  int32_t port) {
  error_ = error;
  words_[kErrorIndex] = static_cast<int32_t>(index);
  words_[kErrorStart] = start;
  words_[kErrorLength] = length;
  words_[kErrorPort] = port;
  return false;
}

int32_t Poller::exchange(uint32_t receiveMax) {
  if (error_ != 0) return error_;
  if (!submitBurst()) return error_;
  fillStarved_ = false;
  uint32_t unsent = 0;
  int32_t down = 0;
  for (const std::shared_ptr<Socket>& socket : sockets_) {
    if (socket->transmitSideFrames() > 0) {
      serveTransmit(socket.get());
      unsent += socket->tx.pending();
    }
    down += socket->down ? 1 : 0;
  }
  // All completions first, so that every ring can be filled from them.
  for (const std::shared_ptr<Socket>& socket : sockets_) {
    if (error_ == 0) refill(socket.get());
  }
  const uint32_t count = error_ == 0 ? receive(std::min(receiveMax, capacity_)) : 0;
  if (error_ != 0) return error_;
  words_[kCount] = static_cast<int32_t>(count);
  words_[kUnsent] = static_cast<int32_t>(unsent);
  words_[kSocketsDown] = down;
  stampTime();
  return static_cast<int32_t>(count);
}

bool Poller::submitBurst() {
  const uint32_t count = static_cast<uint32_t>(words_[kCount]);
  if (count > capacity_) return fail(kBadCount, count, 0, 0, 0);
  if (!pool_.isSound()) return fail(kBadPool, 0, 0, 0, 0);
  words_[kDropped] = 0;
  // Asked once a burst: without big packets nothing is looked up of each.
  const bool hasChains = chains_.any();
  for (uint32_t i = 0; i < count; i++) {
    if (!(hasChains && isChained(i) ? submitChain(i) : submitFrame(i))) return false;
  }
  words_[kCount] = 0;
  return true;
}

bool Poller::submitFrame(uint32_t index) {
  const int32_t start = starts_[index];
  const int32_t port = ports_[index];
  // One to be freed needs but a byte within its frame: its length may be anything.
  const int32_t length = port == kNoPort ? 1 : lengths_[index];
  const uint32_t frame = geometry_.frameOfPacket(start, length);
  if (frame == kNoFrame) return fail(kOutsideFrame, index, start, length, port);
  if (umem_->owner(frame) != kOwnedByUs) return fail(kNotOurs, index, start, length, port);
  if (port == kNoPort) return giveBack(frame) || fail(kBadPool, index, start, length, port);
  if (static_cast<uint32_t>(port) >= portSockets_.size()) {
    return fail(kBadPort, index, start, length, port);
  }
  Socket* socket = socketFor(port, frame);
  if (socket == nullptr || socket->tx.room(1) == 0) {
    countDrop(socket);
    return giveBack(frame) || fail(kBadPool, index, start, length, port);
  }
  xdp_desc& descriptor = socket->tx.push();
  descriptor.addr = static_cast<uint64_t>(start);
  descriptor.len = static_cast<uint32_t>(length);
  descriptor.options = 0;
  socket->sendPending = true;
  umem_->owner(frame) = socket->tag();
  socket->counters.sentFrames++;
  socket->counters.sentBytes += static_cast<uint32_t>(length);
  return true;
}

Socket* Poller::socketFor(int32_t port, uint32_t frame) {
  const std::vector<Socket*>& list = portSockets_[static_cast<uint32_t>(port)];
  if (list.empty()) return nullptr;
  // A flow arrives on one queue; leaving by one queue keeps its order.
  return list.size() == 1 ? list[0] : list[umem_->ingressQueue(frame) % list.size()];
}

void Poller::countDrop(Socket* socket) {
  words_[kDropped]++;
  if (socket == nullptr) {
    unroutedDrops_++;  // the port's socket was removed after the stages chose it
  } else {
    socket->counters.sendDropped++;
  }
}

bool Poller::giveBack(uint32_t frame) { return pool_.give(geometry_.startOf(frame)); }

void Poller::serveTransmit(Socket* socket) {
  if (socket->sendPending) {
    socket->tx.submit();
    socket->sendPending = false;
  }
  kick(socket);
  reclaim(socket);
}

// Sends until the ring is empty or a call makes no progress: EAGAIN, EBUSY and ENOBUFS are normal,
// and the next exchange tries again. So is ENETDOWN: the device may come back.
void Poller::kick(Socket* socket) {
  uint32_t pending = socket->tx.pending();
  if (pending == 0 || socket->down || (!socket->kickAlways && !socket->tx.needsWakeup())) return;
  for (uint32_t left = pending / kFramesPerKick + 1; left > 0 && pending > 0; left--) {
    socket->counters.kicks++;
    const ssize_t sent = ::sendto(socket->fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    if (sent < 0 && errno == ENXIO) return setDown(socket);
    if (!socket->kickAlways) return;  // a driver sends on its own once woken
    const uint32_t after = socket->tx.pending();
    if (after == pending) {
      socket->counters.kickErrors++;
      return;
    }
    pending = after;
  }
}

bool Poller::reclaim(Socket* socket) {
  const uint32_t count = socket->completion.available(socket->completion.size());
  for (uint32_t i = 0; i < count; i++) {
    const uint64_t address = plainAddress(socket->completion.pop());
    const uint32_t frame = address < kUmemBytesMax
                               ? geometry_.frameOf(static_cast<uint32_t>(address))
                               : kNoFrame;
    if (frame == kNoFrame || umem_->owner(frame) != socket->tag()) {
      return fail(kKernelFrame, i, static_cast<int32_t>(address), 0, socket->port);
    }
    umem_->owner(frame) = kOwnedByUs;
    if (!giveBack(frame)) return fail(kBadPool, i, static_cast<int32_t>(address), 0, socket->port);
  }
  if (count > 0) socket->completion.release();
  return true;
}

bool Poller::refill(Socket* socket) {
  if (!pool_.isSound()) return fail(kBadPool, 0, 0, 0, 0);
  const uint32_t target = std::min(socket->options().fillTarget, fillShare_);
  // Frames that wait in the receive ring count too: otherwise a flood would draw the whole pool
  // into it, cold and late. A driver in zero copy holds frames of its own, which must not be
  // counted.
  const uint32_t level =
      socket->zeroCopy() ? socket->fill.pending() : socket->receiveSideFrames();
  // The level may exceed the target: the share shrinks as sockets are added.
  if (level + std::min(kRefillBatch, target / 2) > target) return true;
  const uint32_t wanted = std::min(target - level, socket->fill.room(target - level));
  const uint32_t count = std::min(wanted, pool_.freeCount());
  if (level + count == 0) fillStarved_ = true;
  for (uint32_t i = 0; i < count; i++) {
    const int32_t start = pool_.take();
    const uint32_t frame = start < 0 ? kNoFrame : geometry_.frameOf(static_cast<uint32_t>(start));
    if (frame == kNoFrame || umem_->owner(frame) != kOwnedByUs) {
      return fail(kBadPool, i, start, 0, socket->port);
    }
    umem_->owner(frame) = socket->tag();
    socket->fill.push() = geometry_.startOf(frame);
  }
  if (count > 0) socket->fill.submit();
  if (socket->options().busyPollMicroseconds > 0 || socket->fill.needsWakeup()) {
    ::recvfrom(socket->fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  }
  return true;
}

// Every socket gets its share first, then whoever has more takes what is left; the first one
// changes each time. So a flood on one device cannot keep another's frames waiting.
uint32_t Poller::receive(uint32_t receiveMax) {
  const uint32_t sockets = static_cast<uint32_t>(sockets_.size());
  words_[kMoreWaiting] = 0;
  if (sockets == 0) return 0;
  firstToReceive_ = firstToReceive_ + 1 < sockets ? firstToReceive_ + 1 : 0;
  const uint32_t share = std::max(receiveMax / sockets, 1U);
  uint32_t count = 0;
  for (int round = 0; round < 2 && count < receiveMax; round++) {
    const uint32_t most = round == 0 ? share : receiveMax;
    const uint32_t before = count;
    for (uint32_t i = 0; i < sockets && count < receiveMax; i++) {
      const uint32_t turn = firstToReceive_ + i;
      Socket* socket = sockets_[turn < sockets ? turn : turn - sockets].get();
      count += receiveFrom(socket, count, std::min(most, receiveMax - count));
      if (error_ != 0) return 0;
    }
    if (count == before) break;
  }
  words_[kMoreWaiting] = count == receiveMax ? 1 : 0;
  return count;
}

uint32_t Poller::receiveFrom(Socket* socket, uint32_t index, uint32_t most) {
  if (socket->isSkipping && skipChain(socket) > 0) socket->rx.release();
  const uint32_t ready = socket->rx.available(most);
  if (ready == 0) return 0;
  socket->rx.prefetch(ready);
  const OwnerTag tag = socket->tag();
  uint64_t bytes = 0;
  uint32_t count = 0;
  for (uint32_t i = 0; i < ready; i++) {
    if ((socket->rx.peek(0).options & XDP_PKT_CONTD) != 0) [[unlikely]] {
      uint32_t packets = 0;
      const uint32_t buffers = receiveChain(socket, index + count, &packets);
      if (buffers == 0) break;
      i += buffers - 1;
      count += packets;
      continue;
    }
    const xdp_desc& descriptor = socket->rx.pop();
    const uint64_t address = plainAddress(descriptor.addr);
    const int32_t start = address < kUmemBytesMax ? static_cast<int32_t>(address) : -1;
    const uint32_t frame =
        geometry_.frameOfPacket(start, static_cast<int32_t>(descriptor.len));
    if (frame == kNoFrame || umem_->owner(frame) != tag) {
      fail(kKernelFrame, i, start, static_cast<int32_t>(descriptor.len), socket->port);
      return 0;
    }
    umem_->owner(frame) = kOwnedByUs;
    umem_->ingressQueue(frame) = static_cast<uint16_t>(socket->options().queue);
    starts_[index + count] = start;
    lengths_[index + count] = static_cast<int32_t>(descriptor.len);
    ports_[index + count] = socket->port;
    bytes += descriptor.len;
    count++;
  }
  socket->rx.release();
  socket->counters.receivedFrames += count;
  socket->counters.receivedBytes += bytes;
  return count;
}

// The kernel unbinds a socket whose device goes away; poll(2) does not tell, and nothing is
// received any more.
void Poller::findLostDevices() {
  for (const std::shared_ptr<Socket>& socket : sockets_) {
    int error = 0;
    socklen_t length = sizeof error;
    if (::getsockopt(socket->fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) continue;
    if (error == ENETDOWN) setDown(socket.get());
  }
}

void Poller::setDown(Socket* socket) {
  socket->down = true;
  listPollFds();
}

void Poller::stampTime() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const int32_t seconds = static_cast<int32_t>(now.tv_sec);
  if (seconds != words_[kNowSeconds]) findLostDevices();
  words_[kNowSeconds] = seconds;
  words_[kNowNanoseconds] = static_cast<int32_t>(now.tv_nsec);
}

uint32_t Poller::framesOnRings() const {
  uint32_t frames = 0;
  for (const std::shared_ptr<Socket>& socket : sockets_) {
    frames += socket->receiveSideFrames() + socket->transmitSideFrames();
  }
  return frames;
}

bool Poller::mustRetrySoon() const {
  if (fillStarved_) return true;
  return std::any_of(sockets_.begin(), sockets_.end(), [](const auto& socket) {
    return !socket->down && socket->transmitSideFrames() > 0 && socket->tx.pending() > 0;
  });
}

bool Poller::wait(int timeoutMilliseconds) {
  words_[kWoken] = 0;
  if (error_ != 0) return true;
  // Frames that came back from JavaScript unsent would wait as long as we sleep.
  if (words_[kMoreWaiting] != 0 || words_[kCount] != 0) return true;
  int timeout = timeoutMilliseconds;
  const bool isLong = timeout < 0 || timeout > kRetryMilliseconds;
  if (isLong && mustRetrySoon()) timeout = kRetryMilliseconds;
  const int ready = ::poll(pollFds_.data(), pollFds_.size(), timeout);
  if (ready <= 0) return false;
  if (pollFds_[0].revents != 0) {
    uint64_t wakes = 0;
    if (::read(wake_.get(), &wakes, sizeof wakes) < 0) wakes = 0;  // taken already
    words_[kWoken] = wakes > 0 ? 1 : 0;
  }
  for (size_t i = 0; i < sockets_.size(); i++) {
    if ((pollFds_[i + 1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) setDown(sockets_[i].get());
  }
  return true;
}

}  // namespace xdp
