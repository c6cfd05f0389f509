// Network devices by name, in the network namespace of the calling thread: index, queues, offloads
// (ethtool ioctl).
#pragma once

#include <cstdint>
#include <string>

#include "failure.h"

namespace xdp {

struct DeviceInfo {
  uint32_t index = 0;
  uint32_t mtuBytes = 0;
  uint32_t receiveQueues = 0;   // 0: the driver does not tell
  uint32_t transmitQueues = 0;  // 0: the driver does not tell
  // As many as it could be given.
  uint32_t receiveQueuesMax = 0;
  uint32_t transmitQueuesMax = 0;
  std::string driver;  // empty: the driver does not tell
};

bool readDevice(const std::string& name, DeviceInfo* info, Failure* failure);

// As `ethtool -L <name> rx <queues> tx <queues>`.
bool setQueues(const std::string& name, uint32_t queues, Failure* failure);

enum class Offload : uint32_t { kTxChecksum = 0, kSegmentation = 1, kGro = 2, kGso = 3 };
bool setOffload(const std::string& name, Offload offload, bool on, Failure* failure);

// Sends one whole Ethernet frame through the device's queue, as any program on the node would.
bool sendFrame(const std::string& name, const void* frame, size_t bytes, Failure* failure);

}  // namespace xdp
