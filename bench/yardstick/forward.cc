// The yardstick of the wire benchmarks: two devices, one shared UMEM, and the poller that the
// engine itself uses, with nothing between receive and send but new MAC addresses, in C++ at -O3.
// What the TypeScript engine loses against it is the price of TypeScript and of the stages, not of
// other rings or another kick policy.
//
// With "plain" instead of "poller" it drives the same sockets by a loop of its own that checks
// nothing and knows no owner tags: what a small C forwarder does. With "drop" the poller's frames go
// nowhere, and with "chain" they take the chain in C (chain.h), among any number of devices; "chain-poll"
// sleeps while there are none.
//
// Prints "ready", runs until SIGTERM or SIGINT, then one line of JSON; SIGUSR1 asks for the frames so
// far, as one line of JSON too.

#include <net/if.h>
#include <signal.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "chain.h"
#include "poller.h"
#include "program.h"
#include "socket.h"
#include "umem.h"

namespace {

using xdp::Failure;
using xdp::Poller;
using xdp::Program;
using xdp::Socket;
using xdp::Umem;

// As the engine's worker has them: src/base/limits.ts, src/engine/datapath.ts, native/lib/umem.ts
// and socket.ts.
constexpr uint32_t kBurst = 64;
constexpr uint32_t kBurstCapacity = 128;
constexpr uint32_t kFrames = 32768;
constexpr uint32_t kStrideBytes = 2112;
constexpr uint32_t kRingSize = 2048;
constexpr uint32_t kFillTarget = 2048; // as the engine (src/port/xsk-exchange.ts)
constexpr uint32_t kFramesPerKick = 32;
constexpr size_t kMacBytes = 6;
constexpr uint32_t kPairPorts = 2;
// Frames whose first line is on its way into the cache while one is rewritten.
constexpr uint32_t kPrefetchAhead = 8;
constexpr uint32_t kPortsMax = 16;
constexpr size_t kErrorBytes = 256;

volatile sig_atomic_t stopped = 0;
volatile sig_atomic_t asked = 0;

struct Port {
  std::string device;
  // Destination and source, as they stand in a frame that leaves by this port.
  uint8_t macs[2 * kMacBytes] = {};
  std::shared_ptr<Program> program;
  std::shared_ptr<Socket> socket;
};

struct Totals {
  uint64_t frames = 0;
  uint64_t bursts = 0;
  uint64_t dropped = 0;
};

void tellFrames(const Totals& totals) {
  static int reading = 0;
  timespec now{};
  asked = 0;
  clock_gettime(CLOCK_MONOTONIC, &now);
  std::printf("{\"reading\":%d,\"nanoseconds\":%lld,\"frames\":%llu,\"bytes\":0}\n", ++reading,
              now.tv_sec * 1000000000LL + now.tv_nsec,
              static_cast<unsigned long long>(totals.frames));
  std::fflush(stdout);
}

bool parseMac(const char* text, uint8_t* mac) {
  return std::sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
                     &mac[4], &mac[5]) == static_cast<int>(kMacBytes);
}

bool openPort(const std::shared_ptr<Umem>& umem, const char* object, Port* port, Failure* failure) {
  const uint32_t index = if_nametoindex(port->device.c_str());
  if (index == 0) return failure->set("if_nametoindex", errno, port->device);
  xdp::ProgramOptions program;
  program.objectPath = object;
  program.interfaceIndex = index;
  port->program = Program::attach(program, failure);
  if (port->program == nullptr) return false;
  xdp::SocketOptions socket;
  socket.interfaceIndex = index;
  socket.rxRingSize = socket.txRingSize = kRingSize;
  socket.fillRingSize = socket.completionRingSize = kRingSize;
  socket.fillTarget = kFillTarget;
  socket.tryZeroCopy = true;
  port->socket = Socket::open(umem, socket, failure);
  return port->socket != nullptr;
}

// What a burst is done with; `ports` holds where frames came from, and then where they go.
struct Burst {
  uint8_t* memory;
  int32_t* starts;
  int32_t* lengths;
  int32_t* ports;
  uint32_t count;
  uint32_t nowSeconds;
};

constexpr int kSleepMilliseconds = 100;

// The engine's own poller, one call per burst.
template <typename Handler>
Totals forwardByPoller(const std::shared_ptr<Umem>& umem, std::vector<Port>* ports,
                       const Handler& handle, Failure* failure, bool sleeps = false) {
  Totals totals;
  std::vector<int32_t> words(xdp::kHeaderWords + 3 * kBurstCapacity);
  const auto poller =
      Poller::create(umem, words.data(), static_cast<uint32_t>(words.size()), failure);
  if (poller == nullptr) return totals;
  for (uint32_t i = 0; i < ports->size(); i++) {
    if (!poller->add((*ports)[i].socket, i, failure)) return totals;
    if (!(*ports)[i].program->setSocket(0, (*ports)[i].socket->fd(), failure)) return totals;
  }
  int32_t* starts = words.data() + xdp::kHeaderWords;
  Burst burst{umem->data(), starts, starts + kBurstCapacity, starts + 2 * kBurstCapacity, 0, 0};
  std::puts("ready");
  std::fflush(stdout);
  while (stopped == 0) {
    const int32_t count = poller->exchange(kBurst);
    if (count < 0) {
      failure->set("exchange", EINVAL, "a frame was lost");
      return totals;
    }
    burst.count = static_cast<uint32_t>(count);
    burst.nowSeconds = static_cast<uint32_t>(words[xdp::kNowSeconds]);
    if (count > 0) handle(burst);
    totals.frames += burst.count;
    totals.bursts += count > 0 ? 1 : 0;
    if (asked != 0) tellFrames(totals);
    if (sleeps && count == 0) poller->wait(kSleepMilliseconds);
  }
  for (const Port& port : *ports) totals.dropped += port.socket->counters.sendDropped;
  return totals;
}

Totals rewriteMacs(const std::shared_ptr<Umem>& umem, std::vector<Port>* ports, Failure* failure) {
  const Port* targets = ports->data();
  const auto handle = [targets](const Burst& burst) {
    // As the chain does (chain.c).
    for (uint32_t i = 0; i < kPrefetchAhead && i < burst.count; i++) {
      __builtin_prefetch(burst.memory + burst.starts[i], 1);
    }
    for (uint32_t i = 0; i < burst.count; i++) {
      if (i + kPrefetchAhead < burst.count) {
        __builtin_prefetch(burst.memory + burst.starts[i + kPrefetchAhead], 1);
      }
      if (burst.ports[i] >= static_cast<int32_t>(kPairPorts)) {
        burst.ports[i] = xdp::kNoPort;
        continue;
      }
      burst.ports[i] ^= 1;
      std::memcpy(burst.memory + burst.starts[i], targets[burst.ports[i]].macs,
                  sizeof targets->macs);
    }
  };
  return forwardByPoller(umem, ports, handle, failure);
}

Totals dropAll(const std::shared_ptr<Umem>& umem, std::vector<Port>* ports, Failure* failure) {
  const auto handle = [](const Burst& burst) {
    for (uint32_t i = 0; i < burst.count; i++) burst.ports[i] = xdp::kNoPort;
  };
  return forwardByPoller(umem, ports, handle, failure);
}

Totals runChain(const std::shared_ptr<Umem>& umem, std::vector<Port>* ports, const char* config,
                bool sleeps, Failure* failure) {
  char error[kErrorBytes] = {};
  chain* const opened = chain_open(config, error, sizeof error);
  if (opened == nullptr) {
    failure->set("chain_open", EINVAL, error);
    return {};
  }
  const auto handle = [opened](const Burst& burst) {
    chain_run(opened, burst.memory, burst.starts, burst.lengths, burst.ports, burst.count,
              burst.nowSeconds);
  };
  const Totals totals = forwardByPoller(umem, ports, handle, failure, sleeps);
  chain_close(opened);
  return totals;
}

void fillFrom(std::vector<uint64_t>* free, Socket* socket) {
  const uint32_t level = socket->fill.pending();
  if (level + kFramesPerKick > kFillTarget) return;
  for (uint32_t wanted = kFillTarget - level; wanted > 0 && !free->empty(); wanted--) {
    socket->fill.push() = free->back();
    free->pop_back();
  }
  socket->fill.submit();
}

void sendAndReclaim(const Umem& umem, std::vector<uint64_t>* free, Socket* socket) {
  uint32_t pending = socket->tx.pending();
  for (uint32_t left = pending / kFramesPerKick + 1; left > 0 && pending > 0; left--) {
    ::sendto(socket->fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    const uint32_t after = socket->tx.pending();
    if (after == pending) break;
    pending = after;
  }
  const uint32_t done = socket->completion.available(kRingSize);
  for (uint32_t i = 0; i < done; i++) {
    const uint64_t address = xdp::plainAddress(socket->completion.pop());
    const xdp::FrameGeometry& geometry = umem.geometry();
    free->push_back(geometry.startOf(geometry.frameOf(static_cast<uint32_t>(address))));
  }
  if (done > 0) socket->completion.release();
}

// From one socket's receive ring straight to the other's transmit ring: no burst in between.
uint32_t forwardBurst(const Umem& umem, std::vector<uint64_t>* free, Port* from, Port* to,
                      Totals* totals) {
  const uint32_t count = from->socket->rx.available(kBurst);
  if (count == 0) return 0;
  const uint32_t room = to->socket->tx.room(count);
  for (uint32_t i = 0; i < count; i++) {
    const xdp_desc descriptor = from->socket->rx.pop();
    const uint64_t address = xdp::plainAddress(descriptor.addr);
    if (i >= room) {
      const xdp::FrameGeometry& geometry = umem.geometry();
      free->push_back(geometry.startOf(geometry.frameOf(static_cast<uint32_t>(address))));
      totals->dropped++;
      continue;
    }
    std::memcpy(umem.data() + address, to->macs, sizeof to->macs);
    xdp_desc& out = to->socket->tx.push();
    out.addr = address;
    out.len = descriptor.len;
    out.options = 0;
  }
  from->socket->rx.release();
  to->socket->tx.submit();
  totals->frames += count;
  totals->bursts++;
  return count;
}

Totals forwardPlain(const std::shared_ptr<Umem>& umem, std::vector<Port>* pair,
                    Failure* failure) {
  Totals totals;
  Port* const ports = pair->data();
  std::vector<uint64_t> free;
  for (uint32_t frame = kFrames; frame-- > 0;) free.push_back(umem->geometry().startOf(frame));
  for (uint32_t i = 0; i < kPairPorts; i++) {
    fillFrom(&free, ports[i].socket.get());
    if (!ports[i].program->setSocket(0, ports[i].socket->fd(), failure)) return totals;
  }
  std::puts("ready");
  std::fflush(stdout);
  while (stopped == 0) {
    for (uint32_t i = 0; i < kPairPorts; i++) {
      forwardBurst(*umem, &free, &ports[i], &ports[i ^ 1], &totals);
      if (ports[i].socket->transmitSideFrames() > 0) {
        sendAndReclaim(*umem, &free, ports[i].socket.get());
      }
      fillFrom(&free, ports[i].socket.get());
    }
  }
  return totals;
}

int fail(const Failure& failure) {
  std::fprintf(stderr, "%s: %s %s\n", failure.call, std::strerror(failure.number),
               failure.detail.c_str());
  return 1;
}

struct Arguments {
  std::string mode;
  const char* program = nullptr;
  // Of a chain.
  const char* config = nullptr;
  std::vector<Port> ports;
};

bool parsePair(char** arguments, std::vector<Port>* ports) {
  for (uint32_t i = 0; i < kPairPorts; i++, arguments += 3) {
    Port port;
    port.device = arguments[0];
    if (!parseMac(arguments[1], port.macs) || !parseMac(arguments[2], port.macs + kMacBytes)) {
      std::fprintf(stderr, "a MAC address is six bytes: %s %s\n", arguments[1], arguments[2]);
      return false;
    }
    ports->push_back(port);
  }
  return true;
}

bool parseArguments(int argc, char** argv, Arguments* arguments) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (argc > 4 && (mode == "chain" || mode == "chain-poll") &&
      static_cast<uint32_t>(argc - 4) <= kPortsMax) {
    arguments->config = argv[3];
    for (int i = 4; i < argc; i++) {
      Port port;
      port.device = argv[i];
      arguments->ports.push_back(port);
    }
  } else if (argc < 9 || argc > 10 || !parsePair(argv + 3, &arguments->ports)) {
    std::fprintf(stderr,
                 "usage: %s poller|plain|drop program.o device destination-mac source-mac "
                 "device destination-mac source-mac [device]\n"
                 "       %s chain|chain-poll program.o config device...\n",
                 argv[0], argv[0]);
    return false;
  }
  if (arguments->config == nullptr && argc == 10) {
    Port other;
    other.device = argv[9];
    arguments->ports.push_back(other);
  }
  arguments->mode = mode;
  arguments->program = argv[2];
  return true;
}

void handleSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  action.sa_handler = [](int) { asked = 1; };
  sigaction(SIGUSR1, &action, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parseArguments(argc, argv, &arguments)) return 2;
  handleSignals();
  Failure failure;
  xdp::UmemOptions memory;
  memory.frameCount = kFrames;
  memory.strideBytes = kStrideBytes;
  memory.tryHugePages = true;
  const std::shared_ptr<Umem> umem = Umem::create(memory, &failure);
  if (umem == nullptr) return fail(failure);
  std::vector<Port>& ports = arguments.ports;
  for (Port& port : ports) {
    if (!openPort(umem, arguments.program, &port, &failure)) return fail(failure);
  }
  const std::string& mode = arguments.mode;
  const bool isChain = arguments.config != nullptr;
  const bool sleeps = mode == "chain-poll";
  const Totals totals = isChain ? runChain(umem, &ports, arguments.config, sleeps, &failure)
                        : mode == "plain" ? forwardPlain(umem, &ports, &failure)
                        : mode == "drop"  ? dropAll(umem, &ports, &failure)
                                          : rewriteMacs(umem, &ports, &failure);
  if (failure.number != 0) return fail(failure);
  std::printf("{\"frames\":%llu,\"bursts\":%llu,\"dropped\":%llu}\n",
              static_cast<unsigned long long>(totals.frames),
              static_cast<unsigned long long>(totals.bursts),
              static_cast<unsigned long long>(totals.dropped));
  return 0;
}
