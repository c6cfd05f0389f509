// The whole of the native side on real AF_XDP sockets, in a network namespace of this process: a
// veth pair with a socket on each end. Needs root; run under AddressSanitizer and
// UndefinedBehaviorSanitizer.
#include <fcntl.h>
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
#include "live_lab.h"

namespace {

using live::kBurst;
using live::kFrames;
using live::Lab;
using live::sendAndCount;

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
    umem = xdp::Umem::create(options, &failure);
    if (umem == nullptr) return;
    const uint8_t* place = umem->data();
    if (!umem->adopt(lab.umem->fd(), &failure) || umem->data() != place) return;
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

TEST("and so does one that ends before it could give up") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  const xdp::Audit before = lab.poller->audit();
  for (int i = 0; i < 3; i++) {
    const Successor next(lab);
    CHECK(next.ready);
  }
  const xdp::Audit after = lab.poller->audit();
  CHECK(after.isSound(kFrames));
  CHECK(after.free == before.free && after.onRings == before.onRings);
  CHECK(sendAndCount(&lab, 200) == 200);
}

size_t openFiles() {
  size_t count = 0;
  for (int fd = 0; fd < 1024; fd++) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST("a program that was detached or released keeps no file open while it is there") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  const size_t before = openFiles();
  lab.programs[0]->detach();
  lab.programs[1]->release();
  CHECK(before - openFiles() == 2 * (1 + xdp::kMapCount));
}

TEST("what is no memory, socket or program of another process is refused") {
  Lab lab(2112);
  CHECK(lab.ready);
  if (!lab.ready) return;
  xdp::Failure failure;
  xdp::UmemOptions options;
  options.frameCount = kFrames * 2;
  options.strideBytes = 2112;
  const std::shared_ptr<xdp::Umem> own = xdp::Umem::create(options, &failure);
  for (const int descriptor : {lab.umem->fd(), 0, -1}) CHECK(!own->adopt(descriptor, &failure));
  CHECK(own->pool().freeCount() == kFrames * 2);
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
