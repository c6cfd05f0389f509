// Packets of several buffers (chains.h) on real AF_XDP sockets: whole or not at all, and every buffer
// comes back.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include "check.h"
#include "live_lab.h"

namespace {

using live::kBurst;
using live::kFrames;
using live::Lab;

// A packet for `port` with a pattern that tells a byte moved or lost, in buffers of at most
// `bufferBytes`; returns its first frame.
uint32_t appendBig(Lab* lab, int32_t port, uint32_t bytes, uint32_t bufferBytes) {
  xdp::Chain chain;
  uint8_t* memory = lab->umem->data();
  const uint32_t offset = lab->umem->geometry().strideBytes() - bufferBytes;
  for (uint32_t at = 0; at < bytes; at += bufferBytes) {
    const uint32_t length = std::min(bufferBytes, bytes - at);
    const uint32_t start = static_cast<uint32_t>(lab->umem->pool().take()) + offset;
    for (uint32_t i = 0; i < length; i++) {
      memory[start + i] = static_cast<uint8_t>((at + i) * 7 + (at + i) / 251);
    }
    chain.frames[chain.count] = lab->umem->geometry().frameOf(start);
    chain.starts[chain.count] = static_cast<int32_t>(start);
    chain.lengths[chain.count++] = static_cast<int32_t>(length);
  }
  uint8_t* head = memory + chain.starts[0];
  std::memset(head, 0xff, 6);
  head[12] = 0x88;
  head[13] = 0xb5;
  if (chain.count > 1) lab->umem->chains().link(chain);
  const int32_t i = lab->words[xdp::kCount]++;
  lab->column(0)[i] = chain.starts[0];
  lab->column(1)[i] = static_cast<int32_t>(bytes);
  lab->column(2)[i] = port;
  return chain.frames[0];
}

uint32_t totalWithTails(Lab* lab) { return lab->total() + lab->umem->chains().tails(); }

// What is in the burst at `index`, as one piece; the packet is to be dropped.
std::vector<uint8_t> flatten(Lab* lab, int32_t index) {
  const int32_t* next = lab->umem->chainWords() + xdp::kChainHeaderWords;
  std::vector<uint8_t> bytes;
  int32_t start = lab->column(0)[index];
  int32_t left = lab->column(1)[index];
  while (left > 0 && start >= 0) {
    const uint32_t frame = lab->umem->geometry().frameOf(static_cast<uint32_t>(start));
    const bool isLast = next[2 * frame] == 0;
    const int32_t end = isLast ? start + left : next[2 * frame + 1];
    bytes.insert(bytes.end(), lab->umem->data() + start, lab->umem->data() + end);
    left -= end - start;
    start = next[2 * frame] - 1;
  }
  lab->column(2)[index] = xdp::kNoPort;
  return bytes;
}

bool isPattern(const std::vector<uint8_t>& bytes) {
  for (size_t i = 14; i < bytes.size(); i++) {
    if (bytes[i] != static_cast<uint8_t>(i * 7 + i / 251)) return false;
  }
  return true;
}

TEST("packets of several buffers cross whole, mixed with others, and every buffer comes back") {
  for (const uint32_t stride : {2048U, 2112U}) {
    Lab lab(stride);
    CHECK(lab.ready);
    if (!lab.ready) return;
    CHECK(lab.sockets[0]->multiBuffer() && lab.sockets[0]->multiBufferReason().empty());
    const uint32_t sizes[] = {60, 1800, 1857, 2500, 3712, 3713, 9014, 64, 17001, 28000};
    for (const uint32_t bytes : sizes) appendBig(&lab, 0, bytes, stride - 300);
    size_t arrived = 0;
    for (int round = 0; round < 400 && arrived < std::size(sizes); round++) {
      // Two at a time: buffers of the third stay on the ring.
      const int32_t count = lab.poller->exchange(2);
      CHECK(count >= 0 && totalWithTails(&lab) == kFrames);
      if (count < 0) return;
      for (int32_t i = 0; i < count; i++) {
        const std::vector<uint8_t> bytes = flatten(&lab, i);
        if (bytes.size() < 14 || bytes[12] != 0x88 || bytes[13] != 0xb5) continue;
        CHECK(bytes.size() == sizes[arrived] && isPattern(bytes));
        arrived++;
      }
      if (count == 0) lab.poller->wait(5);
    }
    CHECK(arrived == std::size(sizes));
    CHECK(lab.sockets[0]->counters.sentFrames == std::size(sizes));
    lab.poller->close();
    CHECK(lab.umem->pool().freeCount() == kFrames);
  }
}

TEST("a packet of several buffers that is dropped, cut or closed upon gives every buffer back") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  appendBig(&lab, xdp::kNoPort, 9000, 1800);
  const uint32_t cut = appendBig(&lab, 0, 9000, 1800);
  lab.column(1)[1] = 100;
  const int32_t half = static_cast<int32_t>(appendBig(&lab, 0, 9000, 1800));
  lab.column(1)[2] = 4000;
  CHECK(half >= 0 && lab.umem->chains().tails() == 12);
  CHECK(lab.poller->exchange(0) == 0);
  CHECK(lab.umem->chains().tails() == 0 && !lab.umem->chains().isChained(cut));
  CHECK(lab.total() == kFrames);
  CHECK(lab.sockets[0]->counters.sentBytes == 4100);
  appendBig(&lab, 0, 9000, 1800);
  lab.poller->close();
  CHECK(lab.umem->pool().freeCount() == kFrames);
}

TEST("a packet of several buffers without way out is a counted drop") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  for (int i = 0; i < 30; i++) appendBig(&lab, 0, 9000, 1800);
  CHECK(lab.poller->exchange(0) == 0);
  // 128 descriptors hold 25 of them.
  CHECK(lab.words[xdp::kDropped] == 5 && lab.sockets[0]->counters.sendDropped == 5);
  CHECK(lab.total() == kFrames);
  lab.poller->remove(lab.sockets[0].get());
  appendBig(&lab, 0, 9000, 1800);
  CHECK(lab.poller->exchange(0) == 0 && lab.poller->unroutedDrops() == 1);
  CHECK(lab.total() == kFrames);
}

TEST("a received packet of too many buffers is refused, counted, and followed by the next") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  appendBig(&lab, 0, 17 * 2112, 2112);
  appendBig(&lab, 0, 3000, 1800);
  uint32_t arrived = 0;
  for (int round = 0; round < 400 && arrived == 0; round++) {
    const int32_t count = lab.poller->exchange(kBurst);
    CHECK(count >= 0 && totalWithTails(&lab) == kFrames);
    if (count < 0) return;
    for (int32_t i = 0; i < count; i++) {
      const std::vector<uint8_t> bytes = flatten(&lab, i);
      if (bytes.size() == 3000 && isPattern(bytes)) arrived++;
    }
    if (count == 0) lab.poller->wait(5);
  }
  CHECK(arrived == 1);
  CHECK(lab.sockets[1]->counters.chainsRefused == 1);
}

TEST("buffers that are linked wrongly stop the poller") {
  const auto breaking = [](void (*damage)(Lab*, int32_t*, uint32_t)) {
    Lab lab(2112);
    CHECK(lab.ready);
    if (!lab.ready) return 0;
    const uint32_t head = appendBig(&lab, 0, 9000, 1800);
    damage(&lab, lab.umem->chainWords() + xdp::kChainHeaderWords, head);
    return lab.poller->exchange(kBurst);
  };
  CHECK(breaking([](Lab*, int32_t* w, uint32_t f) { w[2 * f] = INT32_MAX; }) == xdp::kBrokenChain);
  CHECK(breaking([](Lab*, int32_t* w, uint32_t f) { w[2 * f + 1] = -1; }) == xdp::kBrokenChain);
  CHECK(breaking([](Lab*, int32_t* w, uint32_t f) { w[2 * f + 1] += 2112; }) ==
        xdp::kBrokenChain);
  CHECK(breaking([](Lab* lab, int32_t*, uint32_t) { lab->column(1)[0] = 9001; }) ==
        xdp::kOutsideFrame);
  CHECK(breaking([](Lab* lab, int32_t*, uint32_t) { lab->column(1)[0] = 0; }) ==
        xdp::kOutsideFrame);
  CHECK(breaking([](Lab* lab, int32_t*, uint32_t) { lab->column(2)[0] = 2; }) == xdp::kBadPort);
}

}  // namespace
