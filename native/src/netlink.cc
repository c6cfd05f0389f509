// See netlink.h.
#include "netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>

namespace xdp {

namespace {

bool setBuffer(int fd, uint32_t bytes) {
  const int wanted = static_cast<int>(bytes);
  // Beyond net.core.rmem_max only with CAP_NET_ADMIN.
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) == 0) return true;
  return ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof wanted) == 0;
}

}  // namespace

std::shared_ptr<Netlink> Netlink::open(const NetlinkOptions& options, Failure* failure) {
  auto netlink = std::make_shared<Netlink>();
  const int kind = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;
  netlink->socket_.reset(::socket(AF_NETLINK, kind, options.protocol));
  const int fd = netlink->fd();
  if (!netlink->socket_.valid()) {
    failure->set("socket", errno);
    return nullptr;
  }
  if (options.receiveBufferBytes != 0 && !setBuffer(fd, options.receiveBufferBytes)) {
    failure->set("setsockopt SO_RCVBUF", errno);
    return nullptr;
  }
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
    failure->set("bind", errno);
    return nullptr;
  }
  for (const uint32_t group : options.groups) {
    const int number = static_cast<int>(group);
    if (::setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &number, sizeof number) != 0) {
      failure->set("setsockopt NETLINK_ADD_MEMBERSHIP", errno, "group " + std::to_string(group));
      return nullptr;
    }
  }
  return netlink;
}

bool Netlink::send(const void* data, size_t bytes, Failure* failure) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = ::sendto(fd(), data, bytes, 0, reinterpret_cast<const sockaddr*>(&kernel),
                                sizeof kernel);
  return sent == static_cast<ssize_t>(bytes) || failure->set("sendto", errno);
}

ssize_t Netlink::receive(void* data, size_t capacity, Failure* failure) {
  for (;;) {
    sockaddr_nl from{};
    iovec part{data, capacity};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t bytes = ::recvmsg(fd(), &message, MSG_TRUNC);
    if (bytes < 0) {
      if (errno == EAGAIN) return 0;
      if (errno == EINTR) continue;
      failure->set("recvmsg", errno);
      return -1;
    }
    // Other processes can write to a netlink socket as well; only the kernel has number 0.
    if (from.nl_pid != 0) continue;
    if (static_cast<size_t>(bytes) <= capacity) return bytes;
    failure->set("recvmsg", EMSGSIZE);
    return -1;
  }
}

}  // namespace xdp
