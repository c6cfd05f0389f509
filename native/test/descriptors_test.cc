// Messages with descriptors between two ends of a channel: no rights needed.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "../src/descriptors.h"
#include "check.h"

namespace {

struct Ends {
  Ends() {
    listener = xdp::listenForChannels(path, &failure);
    first = xdp::connectChannel(path, &failure);
    second = xdp::acceptChannel(listener.get(), &failure);
  }
  ~Ends() { ::unlink(path.c_str()); }
  xdp::Failure failure;
  const std::string path = "/tmp/rp-channel-" + std::to_string(::getpid());
  xdp::FileDescriptor listener;
  xdp::FileDescriptor first;
  xdp::FileDescriptor second;
  xdp::Message message;
};

size_t openFiles() {
  size_t count = 0;
  for (int fd = 0; fd < 1024; fd++) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST("a message arrives with its descriptors, which are closed once") {
  const size_t before = openFiles();
  {
    Ends ends;
    CHECK(ends.first.valid() && ends.second.valid());
    const std::vector<int> sent(xdp::kDescriptorsMax, ends.first.get());
    CHECK(xdp::sendMessage(ends.first.get(), "hello", 5, sent, &ends.failure) ==
          xdp::Transfer::kDone);
    CHECK(xdp::receiveMessage(ends.second.get(), 1000, &ends.message, &ends.failure) ==
          xdp::Transfer::kDone);
    CHECK(ends.message.bytes == "hello");
    CHECK(ends.message.descriptors.size() == xdp::kDescriptorsMax);
    for (const xdp::FileDescriptor& each : ends.message.descriptors) {
      CHECK((::fcntl(each.get(), F_GETFD) & FD_CLOEXEC) != 0);
    }
  }
  CHECK(openFiles() == before);
}

TEST("nobody waits: no caller, no message, a full queue; and an end that is gone is told") {
  Ends ends;
  CHECK(!xdp::acceptChannel(ends.listener.get(), &ends.failure).valid());
  CHECK(ends.failure.number == 0);
  CHECK(xdp::receiveMessage(ends.second.get(), 0, &ends.message, &ends.failure) ==
        xdp::Transfer::kNothing);
  const std::string large(100 << 10, 'x');
  xdp::Transfer sent = xdp::Transfer::kDone;
  for (int i = 0; i < 100 && sent == xdp::Transfer::kDone; i++) {
    sent = xdp::sendMessage(ends.first.get(), large.data(), large.size(), {}, &ends.failure);
  }
  CHECK(sent == xdp::Transfer::kNothing);
  ends.second.reset();
  CHECK(xdp::sendMessage(ends.first.get(), "x", 1, {}, &ends.failure) == xdp::Transfer::kClosed);
  CHECK(xdp::receiveMessage(ends.first.get(), 0, &ends.message, &ends.failure) ==
        xdp::Transfer::kClosed);
}

TEST("too long a message, too many descriptors and bad ones are refused") {
  Ends ends;
  const std::string large(200 << 10, 'x');
  CHECK(xdp::sendMessage(ends.first.get(), large.data(), large.size(), {}, &ends.failure) ==
        xdp::Transfer::kFailed);
  const std::vector<int> many(xdp::kDescriptorsMax + 1, ends.first.get());
  CHECK(xdp::sendMessage(ends.first.get(), "x", 1, many, &ends.failure) ==
        xdp::Transfer::kFailed);
  CHECK(xdp::sendMessage(ends.first.get(), "x", 1, {-1}, &ends.failure) ==
        xdp::Transfer::kFailed);
  CHECK(ends.failure.number == EBADF);
  // From somebody who does not keep to the limit: cut off is not taken for whole.
  CHECK(::send(ends.first.get(), large.data(), 150 << 10, MSG_DONTWAIT) == 150 << 10);
  CHECK(xdp::receiveMessage(ends.second.get(), 1000, &ends.message, &ends.failure) ==
        xdp::Transfer::kFailed);
}

TEST("the channel's name is for its owner, replaces what was there, and has a bound") {
  Ends ends;
  struct stat status {};
  CHECK(::stat(ends.path.c_str(), &status) == 0 && (status.st_mode & 0777) == 0600);
  CHECK(xdp::listenForChannels(ends.path, &ends.failure).valid());
  xdp::Failure failure;
  CHECK(!xdp::connectChannel(std::string(200, 'x'), &failure).valid());
  CHECK(failure.number == ENAMETOOLONG);
  CHECK(!xdp::connectChannel("", &failure).valid());
  CHECK(!xdp::connectChannel("/tmp/rp-nobody-listens", &failure).valid());
  CHECK(failure.number == ENOENT);
}

}  // namespace
