// See descriptors.h.
#include "descriptors.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace xdp {

namespace {

constexpr size_t kMessageBytesMax = 128 << 10;
constexpr int kWaiting = 4;
constexpr mode_t kOwnerOnly = 0600;
constexpr int kType = SOCK_SEQPACKET | SOCK_CLOEXEC;

union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
};

bool addressOf(const std::string& path, sockaddr_un* address, Failure* failure) {
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address->sun_path) {
    return failure->set("connect", ENAMETOOLONG, path);
  }
  std::memcpy(address->sun_path, path.c_str(), path.size() + 1);
  return true;
}

FileDescriptor failed(Failure* failure, const char* call, const std::string& path) {
  failure->set(call, errno, path);
  return FileDescriptor();
}

}  // namespace

FileDescriptor listenForChannels(const std::string& path, Failure* failure) {
  sockaddr_un address{};
  if (!addressOf(path, &address, failure)) return FileDescriptor();
  ::unlink(path.c_str());
  FileDescriptor socket(::socket(AF_UNIX, kType | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return failed(failure, "socket", path);
  // Before the name is there: nobody else is to find it open. Linux gives it the socket's own mode; the mask
  // of umask(2) is the whole process's, and another thread may be setting it.
  ::fchmod(socket.get(), kOwnerOnly);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return failed(failure, "bind", path);
  }
  if (::listen(socket.get(), kWaiting) != 0) return failed(failure, "listen", path);
  return socket;
}

FileDescriptor acceptChannel(int listener, Failure* failure) {
  // accept4 makes a socket before it looks; who looks often is to pay for a look only.
  pollfd waiting{listener, POLLIN, 0};
  if (::poll(&waiting, 1, 0) == 0) return FileDescriptor();
  FileDescriptor channel(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!channel.valid() && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
    failure->set("accept4", errno);
  }
  return channel;
}

FileDescriptor connectChannel(const std::string& path, Failure* failure) {
  sockaddr_un address{};
  if (!addressOf(path, &address, failure)) return FileDescriptor();
  FileDescriptor socket(::socket(AF_UNIX, kType, 0));
  if (!socket.valid()) return failed(failure, "socket", path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return failed(failure, "connect", path);
  }
  return socket;
}

Transfer sendMessage(int channel, const void* bytes, size_t count,
                     const std::vector<int>& descriptors, Failure* failure) {
  iovec part{const_cast<void*>(bytes), count};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > kMessageBytesMax || descriptors.size() > kDescriptorsMax) {
    failure->set("sendmsg", EMSGSIZE);
    return Transfer::kFailed;
  }
  if (!descriptors.empty()) {
    const size_t descriptorBytes = descriptors.size() * sizeof(int);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(descriptorBytes);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptorBytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptorBytes);
  }
  if (::sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return Transfer::kDone;
  if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) return Transfer::kNothing;
  if (errno == EPIPE || errno == ECONNRESET) return Transfer::kClosed;
  failure->set("sendmsg", errno);
  return Transfer::kFailed;
}

Transfer receiveMessage(int channel, int timeoutMilliseconds, Message* message,
                        Failure* failure) {
  pollfd waiting{channel, POLLIN, 0};
  const int ready = ::poll(&waiting, 1, timeoutMilliseconds);
  if (ready == 0 || (ready < 0 && errno == EINTR)) return Transfer::kNothing;
  message->bytes.resize(kMessageBytesMax);
  iovec part{message->bytes.data(), message->bytes.size()};
  Control control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof control.bytes;
  const ssize_t received = ::recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return Transfer::kNothing;
  if (received == 0 || (received < 0 && errno == ECONNRESET)) return Transfer::kClosed;
  if (received < 0) {
    failure->set("recvmsg", errno);
    return Transfer::kFailed;
  }
  message->bytes.resize(static_cast<size_t>(received));
  message->descriptors.clear();
  for (cmsghdr* each = CMSG_FIRSTHDR(&header); each != nullptr; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    std::array<int, kDescriptorsMax> descriptors{};
    const size_t bytes = each->cmsg_len - CMSG_LEN(0);
    std::memcpy(descriptors.data(), CMSG_DATA(each), bytes);
    const size_t count = bytes / sizeof(int);
    for (size_t i = 0; i < count; i++) message->descriptors.emplace_back(descriptors[i]);
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) return Transfer::kDone;
  // Too long, or this process may have no more open files.
  failure->set("recvmsg", EMFILE, "a message was cut off");
  return Transfer::kFailed;
}

}  // namespace xdp
