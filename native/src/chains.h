// Packets of several buffers (Documentation/networking/af_xdp.rst, "Multi-Buffer Support"), while
// JavaScript has them: the burst holds the first buffer with the whole length, and this table the
// rest. On rings each buffer is a descriptor of its own and the table knows nothing of it.
//
// The words are JavaScript's, too (src/packet/frame-chains.ts), so what is read here is checked.
#pragma once

#include <cstdint>

#include "frames.h"

// Newer than the distribution's headers (include/uapi/linux/if_xdp.h).
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

namespace xdp {

// Copy mode sends at most one buffer and MAX_SKB_FRAGS, 17 unless the kernel is built otherwise.
constexpr uint32_t kChainBuffersMax = 17;
// What the first buffer of a chain holds at least: all headers, and what an ICMP error quotes.
constexpr uint32_t kChainHeadBytesMin = 1024;

constexpr uint32_t kChainHeaderWords = 2;
enum ChainWord : uint32_t {
  kChainCount = 0,  // packets of several buffers that JavaScript has
  kTailCount = 1,   // their buffers, but for the first of each
};

// The buffers of one packet, the first one first.
struct Chain {
  uint32_t count = 0;
  uint32_t bytes = 0;
  uint32_t frames[kChainBuffersMax] = {};
  int32_t starts[kChainBuffersMax] = {};
  int32_t lengths[kChainBuffersMax] = {};
};

class FrameChains {
 public:
  FrameChains() = default;
  explicit FrameChains(int32_t* words) : words_(words) {}

  static uint32_t wordsFor(uint32_t frames) { return kChainHeaderWords + 2 * frames; }

  bool any() const { return words_[kChainCount] != 0; }
  uint32_t tails() const { return static_cast<uint32_t>(words_[kTailCount]); }
  bool isChained(uint32_t frame) const { return next(frame) != 0; }

  void link(const Chain& chain) {
    for (uint32_t i = 0; i < chain.count; i++) {
      next(chain.frames[i]) = i + 1 < chain.count ? chain.starts[i + 1] + 1 : 0;
      end(chain.frames[i]) = chain.starts[i] + chain.lengths[i];
    }
    words_[kChainCount]++;
    words_[kTailCount] += static_cast<int32_t>(chain.count - 1);
  }

  // The packet whose first buffer begins at `start` in `head`, taken out of the table; false when
  // the words contradict themselves.
  bool unlink(const FrameGeometry& geometry, uint32_t head, int32_t start, Chain* chain) {
    uint32_t frame = head;
    for (;;) {
      const int32_t length = end(frame) - start;
      if (chain->count == kChainBuffersMax || geometry.frameOfPacket(start, length) != frame) {
        return false;
      }
      chain->frames[chain->count] = frame;
      chain->starts[chain->count] = start;
      chain->lengths[chain->count++] = length;
      chain->bytes += static_cast<uint32_t>(length);
      start = next(frame) - 1;
      next(frame) = 0;
      if (start < 0) break;
      frame = geometry.frameOf(static_cast<uint32_t>(start));
      if (frame == kNoFrame) return false;
    }
    words_[kChainCount]--;
    words_[kTailCount] -= static_cast<int32_t>(chain->count - 1);
    return true;
  }

 private:
  // One more than the first byte of the next buffer; 0 in the last one, and of no chain.
  int32_t& next(uint32_t frame) { return words_[kChainHeaderWords + 2 * frame]; }
  int32_t next(uint32_t frame) const { return words_[kChainHeaderWords + 2 * frame]; }
  // Behind the buffer's last byte; it stays when the packet grows or shrinks at its front.
  int32_t& end(uint32_t frame) { return words_[kChainHeaderWords + 2 * frame + 1]; }

  int32_t* words_ = nullptr;
};

}  // namespace xdp
