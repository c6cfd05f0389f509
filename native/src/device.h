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
};

bool readDevice(const std::string& name, DeviceInfo* info, Failure* failure);

enum class Offload : uint32_t { kTxChecksum = 0, kSegmentation = 1, kGro = 2, kGso = 3 };
bool setOffload(const std::string& name, Offload offload, bool on, Failure* failure);

// Sends one whole Ethernet frame through the device's queue, as any program on the node would.
bool sendFrame(const std::string& name, const void* frame, size_t bytes, Failure* failure);

}  // namespace xdp
