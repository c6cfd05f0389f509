// A veth pair with a program and a socket on each end, in one poller, for the tests that need the real
// thing. The namespace and the pair are made by live_test.cc.
#pragma once

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "../src/device.h"
#include "../src/poller.h"
#include "../src/program.h"
#include "check.h"

namespace live {

constexpr uint32_t kFrames = 512;
constexpr uint32_t kBurst = 64;
constexpr uint32_t kFillTarget = 64;

// Two ends of a veth, each with program and socket, in one poller: port 0 and port 1.
struct Lab {
  explicit Lab(uint32_t strideBytes) {
    xdp::UmemOptions options;
    options.frameCount = kFrames;
    options.strideBytes = strideBytes;
    umem = xdp::Umem::create(options, &failure);
    if (umem == nullptr) return;
    words.resize(xdp::kHeaderWords + 3 * kBurst);
    poller = xdp::Poller::create(umem, words.data(), static_cast<uint32_t>(words.size()), &failure);
    ready = poller != nullptr && addEnd("rpl0", 0) && addEnd("rpl1", 1);
    if (ready) return;
    std::printf("  %s: %s %s\n", failure.call, std::strerror(failure.number),
                failure.detail.c_str());
  }

  bool addEnd(const char* device, uint32_t port) {
    xdp::DeviceInfo info;
    if (!xdp::readDevice(device, &info, &failure)) return false;
    xdp::ProgramOptions programOptions;
    programOptions.objectPath = XDP_PROGRAM_OBJECT;
    programOptions.interfaceIndex = info.index;
    std::shared_ptr<xdp::Program> program = xdp::Program::attach(programOptions, &failure);
    if (program == nullptr) return false;
    xdp::SocketOptions options;
    options.interfaceIndex = info.index;
    options.rxRingSize = options.txRingSize = 128;
    options.fillRingSize = options.completionRingSize = 128;
    options.fillTarget = kFillTarget;
    options.tryZeroCopy = options.tryMultiBuffer = true;
    std::shared_ptr<xdp::Socket> socket = xdp::Socket::open(umem, options, &failure);
    if (socket == nullptr || !poller->add(socket, port, &failure)) return false;
    if (!program->setSocket(0, socket->fd(), &failure)) return false;
    sockets.push_back(socket);
    programs.push_back(program);
    return true;
  }

  int32_t* column(uint32_t n) { return words.data() + xdp::kHeaderWords + n * kBurst; }
  uint32_t total() {
    return umem->pool().freeCount() + static_cast<uint32_t>(words[xdp::kCount]) +
           poller->framesOnRings();
  }
  // Appends one frame for `port`; the local experimental EtherType, so that no stack answers.
  void append(int32_t port, uint8_t mark) {
    const int32_t start = umem->pool().take() + 256;
    uint8_t* frame = umem->data() + start;
    std::memset(frame, 0, 60);
    std::memset(frame, 0xff, 6);
    frame[12] = 0x88;
    frame[13] = 0xb5;
    frame[14] = mark;
    const int32_t i = words[xdp::kCount]++;
    column(0)[i] = start;
    column(1)[i] = 60;
    column(2)[i] = port;
  }

  xdp::Failure failure;
  std::shared_ptr<xdp::Umem> umem;
  std::vector<int32_t> words;
  std::shared_ptr<xdp::Poller> poller;
  std::vector<std::shared_ptr<xdp::Socket>> sockets;
  std::vector<std::shared_ptr<xdp::Program>> programs;
  bool ready = false;
};

// Sends from port 0 and frees what arrives; returns the number of our frames that reached port 1.
inline uint32_t sendAndCount(Lab* lab, uint32_t frames) {
  uint32_t sent = 0;
  uint32_t arrived = 0;
  for (int round = 0; round < 400 && arrived < frames; round++) {
    const int32_t count = lab->poller->exchange(kBurst);
    CHECK(count >= 0);
    if (count < 0) return arrived;
    CHECK(lab->total() == kFrames);
    for (int32_t i = 0; i < count; i++) {
      const uint8_t* frame = lab->umem->data() + lab->column(0)[i];
      if (frame[12] == 0x88 && frame[13] == 0xb5 && lab->column(2)[i] == 1) arrived++;
      lab->column(2)[i] = xdp::kNoPort;
    }
    for (int i = 0; i < 16 && sent < frames; i++, sent++) {
      lab->append(0, static_cast<uint8_t>(sent));
    }
    if (count == 0 && lab->words[xdp::kCount] == 0) lab->poller->wait(5);
  }
  return arrived;
}

}  // namespace live
