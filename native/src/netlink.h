// A netlink socket of the current network namespace: datagrams out, datagrams in, and nothing of
// what they say. netlink(7).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "failure.h"
#include "resource.h"

namespace xdp {

struct NetlinkOptions {
  int protocol = 0;              // NETLINK_ROUTE
  std::vector<uint32_t> groups;  // multicast groups to join, by number
  uint32_t receiveBufferBytes = 0;
};

class Netlink {
 public:
  static std::shared_ptr<Netlink> open(const NetlinkOptions& options, Failure* failure);

  // One datagram to the kernel.
  bool send(const void* data, size_t bytes, Failure* failure);
  // The next datagram from the kernel, or 0 when there is none; never waits. Negative: a failure.
  // ENOBUFS says that the kernel had to leave out messages, and the next call goes on behind them;
  // EMSGSIZE that the datagram was longer than `capacity`, and is lost.
  ssize_t receive(void* data, size_t capacity, Failure* failure);

  int fd() const { return socket_.get(); }
  void close() { socket_.reset(); }

 private:
  FileDescriptor socket_;
};

}  // namespace xdp
