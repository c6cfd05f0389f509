// Frame arithmetic of a UMEM: which frame a byte lies in, by multiplication instead of division.
#pragma once

#include <cstdint>

namespace xdp {

// Each start fits a JavaScript small integer, and an int32.
constexpr uint64_t kUmemBytesMax = uint64_t{1} << 31;
constexpr uint32_t kNoFrame = UINT32_MAX;

class FrameGeometry {
 public:
  FrameGeometry() = default;
  FrameGeometry(uint32_t frameCount, uint32_t strideBytes)
      : frameCount_(frameCount), strideBytes_(strideBytes) {
    // Granlund and Montgomery, "Division by invariant integers": with 2^shift >= stride and a
    // dividend below 2^31, ceil(2^(32 + shift) / stride) gives the exact quotient, and the product
    // stays below 2^64.
    while ((uint32_t{1} << shift_) < strideBytes) shift_++;
    const uint64_t power = uint64_t{1} << (32 + shift_);
    reciprocal_ = (power + strideBytes - 1) / strideBytes;
  }

  uint32_t frameCount() const { return frameCount_; }
  uint32_t strideBytes() const { return strideBytes_; }
  uint64_t bytes() const { return uint64_t{frameCount_} * strideBytes_; }

  // The frame that holds byte `start`, below 2^31; kNoFrame past the last one.
  uint32_t frameOf(uint32_t start) const {
    const uint32_t frame = static_cast<uint32_t>((start * reciprocal_) >> (32 + shift_));
    return frame < frameCount_ ? frame : kNoFrame;
  }
  uint32_t startOf(uint32_t frame) const { return frame * strideBytes_; }

  // The frame that holds all of [start, start + length), or kNoFrame; a packet has at least one
  // byte.
  uint32_t frameOfPacket(int32_t start, int32_t length) const {
    if (start < 0 || length <= 0) return kNoFrame;
    const uint32_t frame = frameOf(static_cast<uint32_t>(start));
    if (frame == kNoFrame) return kNoFrame;
    const uint32_t offset = static_cast<uint32_t>(start) - startOf(frame);
    return offset + static_cast<uint32_t>(length) <= strideBytes_ ? frame : kNoFrame;
  }

 private:
  uint64_t reciprocal_ = 0;
  uint32_t shift_ = 0;
  uint32_t frameCount_ = 0;
  uint32_t strideBytes_ = 0;
};

// The free frames, on the words JavaScript's FramePool uses too: word 0 is the count, then a stack
// of frame starts.
class FramePool {
 public:
  FramePool() = default;
  FramePool(int32_t* words, uint32_t capacity) : words_(words), capacity_(capacity) {}

  // JavaScript writes the count too: a broken one must not index outside the stack.
  bool isSound() const { return static_cast<uint32_t>(words_[0]) <= capacity_; }
  uint32_t freeCount() const { return static_cast<uint32_t>(words_[0]); }
  int32_t take() { return words_[words_[0]--]; }
  // False when the pool is full: a frame was given back twice.
  bool give(uint32_t frameStart) {
    if (freeCount() >= capacity_) return false;
    words_[++words_[0]] = static_cast<int32_t>(frameStart);
    return true;
  }

 private:
  int32_t* words_ = nullptr;
  uint32_t capacity_ = 0;
};

}  // namespace xdp
