// The poller's part for packets of several buffers: taken from a receive ring whole or not at all,
// sent whole or not at all.
#include <algorithm>
#include <cstring>

#include "poller.h"

namespace xdp {

// Returns how many buffers were taken: 0 while the packet's last one is not there yet. `packets` is
// 1, or 0 for a packet that was refused.
uint32_t Poller::receiveChain(Socket* socket, uint32_t index, uint32_t* packets) {
  uint32_t count = 1;
  while (count <= kChainBuffersMax) {
    if (socket->rx.available(count) < count) return 0;
    if ((socket->rx.peek(count - 1).options & XDP_PKT_CONTD) == 0) break;
    count++;
  }
  *packets = 0;
  if (count > kChainBuffersMax) {
    socket->counters.chainsRefused++;
    socket->isSkipping = true;
    return skipChain(socket);
  }
  Chain chain;
  while (chain.count < count) {
    if (!takeBuffer(socket, &chain)) return 0;
  }
  if (!fillHead(&chain)) return 0;
  umem_->ingressQueue(chain.frames[0]) = static_cast<uint16_t>(socket->options().queue);
  if (chain.count > 1) chains_.link(chain);
  starts_[index] = chain.starts[0];
  lengths_[index] = static_cast<int32_t>(chain.bytes);
  ports_[index] = socket->port;
  socket->counters.receivedBytes += chain.bytes;
  *packets = 1;
  return count;
}

// The rest of a packet with too many buffers, as far as it is there.
uint32_t Poller::skipChain(Socket* socket) {
  uint32_t skipped = 0;
  while (socket->isSkipping && socket->rx.available(1) == 1) {
    socket->isSkipping = (socket->rx.peek(0).options & XDP_PKT_CONTD) != 0;
    Chain one;
    if (!takeBuffer(socket, &one)) return 0;
    if (!giveBack(one.frames[0])) {
      fail(kBadPool, 0, one.starts[0], one.lengths[0], socket->port);
      return 0;
    }
    skipped++;
  }
  return skipped;
}

bool Poller::takeBuffer(Socket* socket, Chain* chain) {
  const xdp_desc& descriptor = socket->rx.pop();
  const uint64_t address = plainAddress(descriptor.addr);
  const int32_t start = address < kUmemBytesMax ? static_cast<int32_t>(address) : -1;
  const int32_t length = static_cast<int32_t>(descriptor.len);
  const uint32_t frame = geometry_.frameOfPacket(start, length);
  if (frame == kNoFrame || umem_->owner(frame) != socket->tag()) {
    return fail(kKernelFrame, chain->count, start, length, socket->port);
  }
  umem_->owner(frame) = kOwnedByUs;
  chain->frames[chain->count] = frame;
  chain->starts[chain->count] = start;
  chain->lengths[chain->count++] = length;
  chain->bytes += descriptor.len;
  return true;
}

// Headers lie in one buffer, and a packet that fits one frame is no chain. The kernel's copy mode
// fills each buffer before the next and leaves nothing to do here.
bool Poller::fillHead(Chain* chain) {
  const uint32_t offset =
      static_cast<uint32_t>(chain->starts[0]) - geometry_.startOf(chain->frames[0]);
  const uint32_t room = geometry_.strideBytes() - offset;
  const uint32_t wanted =
      chain->bytes <= room ? chain->bytes : std::min(room, kChainHeadBytesMin);
  uint8_t* memory = umem_->data();
  while (static_cast<uint32_t>(chain->lengths[0]) < wanted) {
    const int32_t missing = static_cast<int32_t>(wanted) - chain->lengths[0];
    const int32_t moved = std::min(missing, chain->lengths[1]);
    std::memcpy(memory + chain->starts[0] + chain->lengths[0], memory + chain->starts[1],
                static_cast<size_t>(moved));
    chain->lengths[0] += moved;
    chain->starts[1] += moved;
    chain->lengths[1] -= moved;
    if (chain->lengths[1] > 0) continue;
    if (!giveBack(chain->frames[1])) return fail(kBadPool, 1, chain->starts[1], 0, 0);
    chain->count--;
    for (uint32_t i = 1; i < chain->count; i++) {
      chain->frames[i] = chain->frames[i + 1];
      chain->starts[i] = chain->starts[i + 1];
      chain->lengths[i] = chain->lengths[i + 1];
    }
  }
  return true;
}

bool Poller::isChained(uint32_t index) const {
  const int32_t start = starts_[index];
  const uint32_t frame = start < 0 ? kNoFrame : geometry_.frameOf(static_cast<uint32_t>(start));
  return frame != kNoFrame && chains_.isChained(frame);
}

bool Poller::submitChain(uint32_t index) {
  const int32_t start = starts_[index];
  const int32_t port = ports_[index];
  const int32_t length = lengths_[index];
  Chain chain;
  const uint32_t head = geometry_.frameOf(static_cast<uint32_t>(start));
  if (!chains_.unlink(geometry_, head, start, &chain)) {
    return fail(kBrokenChain, index, start, length, port);
  }
  for (uint32_t i = 0; i < chain.count; i++) {
    if (umem_->owner(chain.frames[i]) == kOwnedByUs) continue;
    return fail(kNotOurs, index, chain.starts[i], length, port);
  }
  if (port == kNoPort) return giveBackFrom(chain, 0);
  if (length <= 0 || static_cast<uint32_t>(length) > chain.bytes) {
    return fail(kOutsideFrame, index, start, length, port);
  }
  if (!trim(&chain, static_cast<uint32_t>(length))) return false;
  return chain.count == 1 ? submitFrame(index) : sendChain(chain, index);
}

// A stage has cut the packet: buffers behind its end go back.
bool Poller::trim(Chain* chain, uint32_t length) {
  uint32_t kept = 0;
  for (uint32_t left = length; left > 0; kept++) {
    chain->lengths[kept] = std::min(chain->lengths[kept], static_cast<int32_t>(left));
    left -= static_cast<uint32_t>(chain->lengths[kept]);
  }
  if (!giveBackFrom(*chain, kept)) return false;
  chain->count = kept;
  chain->bytes = length;
  return true;
}

bool Poller::sendChain(const Chain& chain, uint32_t index) {
  const int32_t port = ports_[index];
  if (static_cast<uint32_t>(port) >= portSockets_.size()) {
    return fail(kBadPort, index, starts_[index], lengths_[index], port);
  }
  Socket* socket = socketFor(port, chain.frames[0]);
  if (socket == nullptr || !socket->multiBuffer() || socket->tx.room(chain.count) < chain.count) {
    countDrop(socket);
    return giveBackFrom(chain, 0);
  }
  for (uint32_t i = 0; i < chain.count; i++) {
    xdp_desc& descriptor = socket->tx.push();
    descriptor.addr = static_cast<uint64_t>(chain.starts[i]);
    descriptor.len = static_cast<uint32_t>(chain.lengths[i]);
    descriptor.options = i + 1 < chain.count ? XDP_PKT_CONTD : 0;
    umem_->owner(chain.frames[i]) = socket->tag();
  }
  socket->sendPending = true;
  socket->counters.sentFrames++;
  socket->counters.sentBytes += chain.bytes;
  return true;
}

bool Poller::giveBackFrom(const Chain& chain, uint32_t first) {
  for (uint32_t i = first; i < chain.count; i++) {
    if (!giveBack(chain.frames[i])) {
      return fail(kBadPool, i, chain.starts[i], chain.lengths[i], kNoPort);
    }
  }
  return true;
}

// The poller closes and takes the burst's frames back.
void Poller::giveBackPacket(uint32_t index) {
  const int32_t start = starts_[index];
  const uint32_t frame = start < 0 ? kNoFrame : geometry_.frameOf(static_cast<uint32_t>(start));
  if (frame == kNoFrame || umem_->owner(frame) != kOwnedByUs) return;
  Chain chain;
  if (!chains_.isChained(frame)) {
    giveBack(frame);
  } else if (chains_.unlink(geometry_, frame, start, &chain)) {
    giveBackFrom(chain, 0);
  }
}

}  // namespace xdp
