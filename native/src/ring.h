// The four AF_XDP rings (Documentation/networking/af_xdp.rst): single producer, single consumer,
// one side in the kernel. Indices run freely over 32 bits; their difference is the fill level. This
// knows no system call.
#pragma once

#include <linux/if_xdp.h>

#include <cstdint>

namespace xdp {

constexpr uint32_t kCacheLineBytes = 64;

// Where one ring's parts lie in its mapping.
struct RingMemory {
  uint32_t* producer = nullptr;
  uint32_t* consumer = nullptr;
  uint32_t* flags = nullptr;
  void* entries = nullptr;
  uint32_t size = 0;  // a power of two
};

inline uint32_t loadAcquire(const uint32_t* index) {
  return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}
inline void storeRelease(uint32_t* index, uint32_t value) {
  __atomic_store_n(index, value, __ATOMIC_RELEASE);
}

// Our side produces: fill (frame addresses) and transmit (descriptors).
template <typename Entry>
class ProducerRing {
 public:
  ProducerRing() = default;
  // Goes on where the ring is: it may be another process's that stopped.
  explicit ProducerRing(const RingMemory& memory)
      : memory_(memory), mask_(memory.size - 1),
        produced_(*memory.producer),
        consumed_(loadAcquire(memory.consumer)) {}

  // Room for at least `wanted` entries is looked up in the kernel's index only when our copy shows
  // less.
  uint32_t room(uint32_t wanted) {
    uint32_t free = memory_.size - (produced_ - consumed_);
    if (free < wanted) {
      consumed_ = loadAcquire(memory_.consumer);
      free = memory_.size - (produced_ - consumed_);
    }
    return free;
  }
  // The caller has seen room for it; the kernel sees it after submit.
  Entry& push() { return static_cast<Entry*>(memory_.entries)[produced_++ & mask_]; }
  void submit() { storeRelease(memory_.producer, produced_); }

  uint32_t produced() const { return produced_; }
  // Entries the kernel has not taken yet.
  uint32_t pending() {
    consumed_ = loadAcquire(memory_.consumer);
    return produced_ - consumed_;
  }
  uint32_t size() const { return memory_.size; }
  bool needsWakeup() const {
    return (__atomic_load_n(memory_.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) != 0;
  }

 private:
  RingMemory memory_;
  uint32_t mask_ = 0;
  uint32_t produced_ = 0;
  uint32_t consumed_ = 0;
};

// Our side consumes: receive (descriptors) and completion (frame addresses).
template <typename Entry>
class ConsumerRing {
 public:
  ConsumerRing() = default;
  explicit ConsumerRing(const RingMemory& memory)
      : memory_(memory), mask_(memory.size - 1),
        consumed_(*memory.consumer),
        produced_(consumed_) {}

  // Entries ready, at most `wanted`.
  uint32_t available(uint32_t wanted) {
    uint32_t ready = produced_ - consumed_;
    if (ready < wanted) {
      produced_ = loadAcquire(memory_.producer);
      ready = produced_ - consumed_;
    }
    return ready < wanted ? ready : wanted;
  }
  const Entry& pop() { return static_cast<const Entry*>(memory_.entries)[consumed_++ & mask_]; }
  // One that is ready, `ahead` of the next; it is not taken.
  const Entry& peek(uint32_t ahead) const {
    return static_cast<const Entry*>(memory_.entries)[(consumed_ + ahead) & mask_];
  }
  // Fetches the lines of so many entries at once: another core wrote them, and each would be waited
  // for by itself. They begin anywhere in a line, so that it may be one more; nothing is read of it.
  void prefetch(uint32_t count) const {
    constexpr uint32_t kPerLine = kCacheLineBytes / sizeof(Entry);
    for (uint32_t i = 0; i < count + kPerLine; i += kPerLine) __builtin_prefetch(&peek(i));
  }
  void release() { storeRelease(memory_.consumer, consumed_); }

  uint32_t consumed() const { return consumed_; }
  uint32_t size() const { return memory_.size; }

 private:
  RingMemory memory_;
  uint32_t mask_ = 0;
  uint32_t consumed_ = 0;
  uint32_t produced_ = 0;
};

// An address as the kernel gives it: in unaligned mode the offset into the frame rides in the upper
// 16 bits. In aligned mode those bits are zero.
inline uint64_t plainAddress(uint64_t address) {
  return (address & XSK_UNALIGNED_BUF_ADDR_MASK) + (address >> XSK_UNALIGNED_BUF_OFFSET_SHIFT);
}

}  // namespace xdp
