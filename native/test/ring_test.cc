// The rings against a pretended kernel on the other side: no rights needed.
#include <thread>
#include <vector>

#include "../src/ring.h"
#include "check.h"

namespace {

// A ring in plain memory, its indices starting wherever a test wants them.
template <typename Entry>
struct FakeRing {
  explicit FakeRing(uint32_t size, uint32_t start = 0)
      : producer(start), consumer(start), entries(size) {
    memory.producer = &producer;
    memory.consumer = &consumer;
    memory.flags = &flags;
    memory.entries = entries.data();
    memory.size = size;
  }
  uint32_t producer;
  uint32_t consumer;
  uint32_t flags = 0;
  std::vector<Entry> entries;
  xdp::RingMemory memory;
};

TEST("a producer sees its room shrink, and grow when the kernel takes") {
  FakeRing<uint64_t> fake(4);
  xdp::ProducerRing<uint64_t> ring(fake.memory);
  CHECK(ring.room(4) == 4);
  for (uint64_t i = 0; i < 4; i++) ring.push() = i * 10;
  CHECK(fake.producer == 0);
  ring.submit();
  CHECK(fake.producer == 4);
  CHECK(ring.room(1) == 0);
  CHECK(ring.pending() == 4);
  fake.consumer = 3;
  CHECK(ring.room(1) == 3);
  CHECK(ring.pending() == 1);
}

TEST("indices run over 32 bits") {
  FakeRing<uint64_t> fake(8, UINT32_MAX - 2);
  xdp::ProducerRing<uint64_t> producer(fake.memory);
  CHECK(producer.room(8) == 8);
  for (uint64_t i = 0; i < 6; i++) producer.push() = i;
  producer.submit();
  CHECK(fake.producer == 3);
  CHECK(producer.pending() == 6);
  FakeRing<uint64_t> other(8, UINT32_MAX - 2);
  xdp::ConsumerRing<uint64_t> consumer(other.memory);
  for (uint32_t i = 0; i < 6; i++) other.entries[(UINT32_MAX - 2 + i) & 7] = 100 + i;
  other.producer += 6;
  CHECK(consumer.available(64) == 6);
  for (uint64_t i = 0; i < 6; i++) CHECK(consumer.pop() == 100 + i);
  consumer.release();
  CHECK(other.consumer == 3);
  CHECK(consumer.available(64) == 0);
}

TEST("a consumer takes no more than it is told") {
  FakeRing<uint64_t> fake(8);
  xdp::ConsumerRing<uint64_t> ring(fake.memory);
  fake.producer = 5;
  CHECK(ring.available(3) == 3);
  CHECK(ring.available(9) == 5);
}

TEST("an unaligned address carries its offset in the upper bits") {
  CHECK(xdp::plainAddress((uint64_t{256} << 48) | 2112) == 2112 + 256);
  CHECK(xdp::plainAddress(4096 + 256) == 4096 + 256);
}

TEST("the wakeup flag is read from the ring") {
  FakeRing<xdp_desc> fake(4);
  const xdp::ProducerRing<xdp_desc> ring(fake.memory);
  CHECK(!ring.needsWakeup());
  fake.flags = XDP_RING_NEED_WAKEUP;
  CHECK(ring.needsWakeup());
}

TEST("every entry crosses between two threads once and in order") {
  constexpr uint64_t kEntries = 200000;
  FakeRing<uint64_t> fake(64, UINT32_MAX - 1000);
  xdp::ProducerRing<uint64_t> producer(fake.memory);
  xdp::ConsumerRing<uint64_t> consumer(fake.memory);
  std::thread sender([&producer] {
    for (uint64_t next = 0; next < kEntries;) {
      const uint32_t room = producer.room(1);
      for (uint32_t i = 0; i < room && next < kEntries; i++) producer.push() = next++;
      producer.submit();
      if (room == 0) std::this_thread::yield();
    }
  });
  bool inOrder = true;
  for (uint64_t expected = 0; expected < kEntries;) {
    const uint32_t ready = consumer.available(16);
    for (uint32_t i = 0; i < ready; i++) inOrder = inOrder && consumer.pop() == expected++;
    consumer.release();
    if (ready == 0) std::this_thread::yield();
  }
  sender.join();
  CHECK(inOrder);
}

}  // namespace
