// The whole of the native side on real AF_XDP sockets, in a network namespace of this process: a
// veth pair with a socket on each end. Needs root; run under AddressSanitizer and
// UndefinedBehaviorSanitizer.
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <vector>

#include "../src/device.h"
#include "../src/netlink.h"
#include "../src/poller.h"
#include "../src/program.h"
#include "check.h"

namespace {

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
uint32_t sendAndCount(Lab* lab, uint32_t frames) {
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

TEST("frames cross a veth between two sockets of one UMEM, at any stride, and none is lost") {
  for (const uint32_t stride : {2048U, 2112U, 4096U}) {
    Lab lab(stride);
    CHECK(lab.ready);
    if (!lab.ready) return;
    CHECK(sendAndCount(&lab, 1000) == 1000);
    lab.poller->close();
    CHECK(lab.umem->pool().freeCount() == kFrames);
  }
}

TEST("removing a socket in mid-flight gives every frame back") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  for (int i = 0; i < 40; i++) lab.append(0, 1);
  CHECK(lab.poller->exchange(4) >= 0);
  lab.poller->remove(lab.sockets[1].get());
  CHECK(lab.total() == kFrames);
  lab.poller->remove(lab.sockets[0].get());
  CHECK(lab.total() == kFrames);
  CHECK(lab.poller->framesOnRings() == 0);
  lab.append(0, 1);
  const uint64_t sent = static_cast<uint64_t>(lab.words[xdp::kCount]);
  CHECK(lab.poller->exchange(4) == 0);
  CHECK(lab.poller->unroutedDrops() == sent);
  CHECK(lab.umem->pool().freeCount() == kFrames);
}

TEST("a frame given twice stops the poller") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  lab.append(0, 1);
  lab.append(0, 1);
  lab.column(0)[1] = lab.column(0)[0];
  CHECK(lab.poller->exchange(kBurst) == xdp::kNotOurs);
  CHECK(lab.poller->exchange(kBurst) == xdp::kNotOurs);
}

TEST("a packet outside its frame, a port that never was, and a damaged pool stop the poller") {
  const auto breaking = [](void (*damage)(Lab*)) {
    Lab lab(2112);
    CHECK(lab.ready);
    if (!lab.ready) return 0;
    lab.append(0, 1);
    damage(&lab);
    return lab.poller->exchange(kBurst);
  };
  CHECK(breaking([](Lab* lab) { lab->column(1)[0] = 2112; }) == xdp::kOutsideFrame);
  CHECK(breaking([](Lab* lab) { lab->column(0)[0] = -7; }) == xdp::kOutsideFrame);
  CHECK(breaking([](Lab* lab) { lab->column(2)[0] = 2; }) == xdp::kBadPort);
  CHECK(breaking([](Lab* lab) { lab->column(2)[0] = -2; }) == xdp::kBadPort);
  CHECK(breaking([](Lab* lab) { lab->words[0] = 65; }) == xdp::kBadCount);
  CHECK(breaking([](Lab* lab) { lab->umem->poolWords()[0] = 513; }) == xdp::kBadPool);
}

// Another process's view of a lab: everything is adopted by its descriptors.
struct Successor {
  explicit Successor(const Lab& lab) {
    xdp::UmemOptions options;
    options.frameCount = kFrames;
    options.strideBytes = lab.umem->geometry().strideBytes();
    umem = xdp::Umem::adopt(options, lab.umem->fd(), &failure);
    if (umem == nullptr) return;
    words.resize(xdp::kHeaderWords + 3 * kBurst);
    poller = xdp::Poller::create(umem, words.data(), static_cast<uint32_t>(words.size()), &failure);
    for (uint32_t port = 0; port < lab.sockets.size(); port++) {
      const xdp::Socket& from = *lab.sockets[port];
      xdp::ProgramOptions programOptions;
      programOptions.objectPath = XDP_PROGRAM_OBJECT;
      programOptions.interfaceIndex = from.options().interfaceIndex;
      const std::vector<int> descriptors = lab.programs[port]->descriptors();
      programs.push_back(xdp::Program::adopt(programOptions, descriptors, &failure));
      std::shared_ptr<xdp::Socket> socket =
          xdp::Socket::adopt(umem, from.options(), from.fd(), from.tag(), &failure);
      if (programs.back() == nullptr || socket == nullptr) return;
      if (!poller->addAdopted(socket, port, &failure)) return;
    }
    ready = true;
  }

  xdp::Failure failure;
  std::shared_ptr<xdp::Umem> umem;
  std::vector<int32_t> words;
  std::shared_ptr<xdp::Poller> poller;
  std::vector<std::shared_ptr<xdp::Program>> programs;
  bool ready = false;
};

TEST("a successor goes on with memory, rings and programs in mid-flight, and no frame is lost") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  CHECK(sendAndCount(&lab, 200) == 200);
  Successor next(lab);
  CHECK(next.ready);
  if (!next.ready) return;
  for (int i = 0; i < 20; i++) lab.append(0, 1);
  CHECK(lab.poller->exchange(0) == 0);
  const xdp::Audit before = lab.poller->audit();
  CHECK(before.isSound(kFrames) && before.inBurst == 0);
  lab.poller->handOver();
  for (const auto& program : lab.programs) program->release();
  next.poller->resume();
  const xdp::Audit after = next.poller->audit();
  CHECK(after.isSound(kFrames));
  CHECK(after.free == before.free && after.onRings == before.onRings);
  uint32_t arrived = 0;
  for (int round = 0; round < 100 && arrived < 20; round++) {
    const int32_t count = next.poller->exchange(kBurst);
    CHECK(count >= 0);
    for (int32_t i = 0; i < count; i++) {
      const int32_t start = next.words[xdp::kHeaderWords + static_cast<uint32_t>(i)];
      const uint8_t* frame = next.umem->data() + start;
      if (frame[12] == 0x88 && frame[13] == 0xb5) arrived++;
      next.words[xdp::kHeaderWords + 2 * kBurst + static_cast<uint32_t>(i)] = xdp::kNoPort;
    }
    if (count == 0) next.poller->wait(5);
  }
  CHECK(arrived == 20);
  next.poller->close();
  CHECK(next.umem->pool().freeCount() == kFrames);
}

TEST("a successor that gives up leaves the first one as it was") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  for (int i = 0; i < 3; i++) {
    Successor next(lab);
    CHECK(next.ready);
    next.umem->handOver();
    next.poller->handOver();
    for (const auto& program : next.programs) program->release();
  }
  CHECK(sendAndCount(&lab, 200) == 200);
}

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

TEST("what is no memory, socket or program of another process is refused") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  xdp::Failure failure;
  xdp::UmemOptions options;
  options.frameCount = kFrames * 2;
  options.strideBytes = 2112;
  CHECK(xdp::Umem::adopt(options, lab.umem->fd(), &failure) == nullptr);
  options.frameCount = kFrames;
  CHECK(xdp::Umem::adopt(options, 0, &failure) == nullptr);
  CHECK(xdp::Umem::adopt(options, -1, &failure) == nullptr);
  const xdp::Socket& socket = *lab.sockets[0];
  CHECK(xdp::Socket::adopt(lab.umem, socket.options(), -1, 1, &failure) == nullptr);
  CHECK(xdp::Socket::adopt(lab.umem, socket.options(), lab.umem->fd(), 1, &failure) == nullptr);
  xdp::ProgramOptions program;
  program.objectPath = XDP_PROGRAM_OBJECT;
  program.interfaceIndex = socket.options().interfaceIndex;
  std::vector<int> descriptors = lab.programs[0]->descriptors();
  program.mode = 1;
  CHECK(xdp::Program::adopt(program, descriptors, &failure) == nullptr);
  CHECK(failure.number == EPROTO);
  program.mode = 0;
  program.objectPath = "/dev/null";
  CHECK(xdp::Program::adopt(program, descriptors, &failure) == nullptr);
  program.objectPath = XDP_PROGRAM_OBJECT;
  program.interfaceIndex++;
  CHECK(xdp::Program::adopt(program, descriptors, &failure) == nullptr);
  program.interfaceIndex--;
  descriptors.pop_back();
  CHECK(xdp::Program::adopt(program, descriptors, &failure) == nullptr);
  descriptors.assign(descriptors.size() + 1, lab.umem->fd());
  CHECK(xdp::Program::adopt(program, descriptors, &failure) == nullptr);

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

TEST("a netlink socket hears of a change, tells of lost messages and goes on behind them") {
  xdp::Failure failure;
  xdp::NetlinkOptions options;
  options.groups = {1};  // RTNLGRP_LINK
  options.receiveBufferBytes = 2048;
  const std::shared_ptr<xdp::Netlink> netlink = xdp::Netlink::open(options, &failure);
  CHECK(netlink != nullptr);
  if (netlink == nullptr) return;
  std::vector<uint8_t> buffer(65536);
  CHECK(netlink->receive(buffer.data(), buffer.size(), &failure) == 0);
  CHECK(std::system("ip link set rpl0 mtu 1400") == 0);
  CHECK(netlink->receive(buffer.data(), buffer.size(), &failure) > 0);
  CHECK(std::system("for i in 1 2 3 4 5 6 7 8; do ip link set rpl0 mtu 140$i; done") == 0);
  int received = 0;
  int lost = 0;
  for (ssize_t bytes; (bytes = netlink->receive(buffer.data(), buffer.size(), &failure)) != 0;) {
    bytes > 0 ? received++ : lost++;
    CHECK(bytes > 0 || failure.number == ENOBUFS);
  }
  CHECK(received > 0);
  CHECK(lost == 1);
  options.groups = {4096};
  CHECK(xdp::Netlink::open(options, &failure) == nullptr && failure.number == EINVAL);
}

}  // namespace

int main() {
  const bool mayLack = std::getenv("RINGPATH_NO_ROOT") != nullptr;
  if (::unshare(CLONE_NEWNET) != 0) {
    std::printf("%s: a network namespace needs root\n", mayLack ? "skipped" : "not ok");
    return mayLack ? 0 : 1;
  }
  if (std::system("ip link add rpl0 type veth peer name rpl1 && ip link set rpl0 up && "
                  "ip link set rpl1 up && ip link set rpl0 mtu 40000 && "
                  "ip link set rpl1 mtu 40000") != 0) {
    return 1;
  }
  return check::runAll();
}
