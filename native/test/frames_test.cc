// Frame arithmetic and the pool: no kernel, no rights needed.
#include <random>
#include <vector>

#include "../src/frames.h"
#include "../src/resource.h"
#include "check.h"

namespace {

constexpr uint32_t kStrides[] = {2048, 2049, 2112, 2176, 3000, 3520, 4095, 4096};

TEST("the frame of a byte is its quotient by the stride, at every boundary") {
  for (const uint32_t stride : kStrides) {
    const uint32_t count = static_cast<uint32_t>(xdp::kUmemBytesMax / stride);
    const xdp::FrameGeometry geometry(count, stride);
    for (uint32_t frame = 0; frame < count; frame += 97) {
      const uint32_t first = frame * stride;
      CHECK(geometry.frameOf(first) == frame);
      CHECK(geometry.frameOf(first + stride - 1) == frame);
      if (frame > 0) CHECK(geometry.frameOf(first - 1) == frame - 1);
    }
    CHECK(geometry.frameOf((count - 1) * stride + stride - 1) == count - 1);
  }
}

TEST("the frame of random bytes is the quotient for every stride the kernel takes") {
  std::mt19937 random(1);
  for (uint32_t stride = 2048; stride <= 4096; stride++) {
    const uint32_t count = static_cast<uint32_t>(xdp::kUmemBytesMax / stride);
    const xdp::FrameGeometry geometry(count, stride);
    for (int i = 0; i < 200; i++) {
      const uint32_t byte = random() & 0x7fffffff;
      const uint32_t frame = byte / stride;
      CHECK(geometry.frameOf(byte) == (frame < count ? frame : xdp::kNoFrame));
    }
  }
}

TEST("a packet must lie within one frame of the UMEM") {
  const xdp::FrameGeometry geometry(4, 2112);
  CHECK(geometry.frameOfPacket(0, 2112) == 0);
  CHECK(geometry.frameOfPacket(0, 2113) == xdp::kNoFrame);
  CHECK(geometry.frameOfPacket(2111, 1) == 0);
  CHECK(geometry.frameOfPacket(2111, 2) == xdp::kNoFrame);
  CHECK(geometry.frameOfPacket(3 * 2112 + 256, 1500) == 3);
  CHECK(geometry.frameOfPacket(4 * 2112, 1) == xdp::kNoFrame);
  CHECK(geometry.frameOfPacket(-1, 1) == xdp::kNoFrame);
  CHECK(geometry.frameOfPacket(10, 0) == xdp::kNoFrame);
  CHECK(geometry.frameOfPacket(10, -5) == xdp::kNoFrame);
  CHECK(geometry.frameOfPacket(INT32_MAX, INT32_MAX) == xdp::kNoFrame);
  CHECK(geometry.frameOfPacket(10, INT32_MAX) == xdp::kNoFrame);
}

TEST("the pool is last in, first out, and refuses more than there are") {
  std::vector<int32_t> words(4);
  xdp::FramePool pool(words.data(), 3);
  CHECK(pool.freeCount() == 0);
  CHECK(pool.give(0));
  CHECK(pool.give(2112));
  CHECK(pool.give(4224));
  CHECK(!pool.give(0));
  CHECK(pool.take() == 4224);
  CHECK(pool.take() == 2112);
  CHECK(pool.give(2112));
  CHECK(pool.take() == 2112);
  CHECK(pool.take() == 0);
  CHECK(pool.freeCount() == 0);
}

TEST("a pool whose count JavaScript broke is found") {
  std::vector<int32_t> words(4);
  xdp::FramePool pool(words.data(), 3);
  CHECK(pool.isSound());
  words[0] = 4;
  CHECK(!pool.isSound());
  words[0] = -1;
  CHECK(!pool.isSound());
}

TEST("a descriptor is closed once, and moves leave nothing behind") {
  int ends[2];
  CHECK(::pipe(ends) == 0);
  xdp::FileDescriptor first(ends[0]);
  xdp::FileDescriptor second(std::move(first));
  CHECK(second.get() == ends[0]);
  second.reset();
  CHECK(!second.valid());
  CHECK(::close(ends[0]) != 0);
  const xdp::FileDescriptor other(ends[1]);
}

}  // namespace
