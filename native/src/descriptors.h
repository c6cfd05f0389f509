// Descriptors from one process to another: messages of a unix socket, each with bytes and open files
// (unix(7), SCM_RIGHTS). What the bytes say is none of this layer's business.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "failure.h"
#include "resource.h"

namespace xdp {

constexpr size_t kDescriptorsMax = 253;  // SCM_MAX_FD

// A socket for `acceptChannel`, for its owner alone. What lies at the path is replaced.
FileDescriptor listenForChannels(const std::string& path, Failure* failure);
// The next one who connected; invalid, without a failure, when there is none. Never waits.
FileDescriptor acceptChannel(int listener, Failure* failure);
FileDescriptor connectChannel(const std::string& path, Failure* failure);

enum class Transfer { kDone, kNothing, kClosed, kFailed };

// Never waits: kNothing when the receiver's queue is full.
Transfer sendMessage(int channel, const void* bytes, size_t count,
                     const std::vector<int>& descriptors, Failure* failure);

struct Message {
  std::string bytes;
  std::vector<FileDescriptor> descriptors;
};

// Waits so long for a message, for ever with -1; kNothing when none came.
Transfer receiveMessage(int channel, int timeoutMilliseconds, Message* message, Failure* failure);

}  // namespace xdp
