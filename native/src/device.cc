// See device.h. ethtool by ioctl: include/uapi/linux/ethtool.h.
#include "device.h"

#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "resource.h"

namespace xdp {

namespace {

// Questions about one device, in turn.
class DeviceRequest {
 public:
  explicit DeviceRequest(const std::string& name)
      : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    std::strncpy(request_.ifr_name, name.c_str(), IFNAMSIZ - 1);
  }
  bool call(unsigned long number) { return ::ioctl(socket_.get(), number, &request_) == 0; }
  bool ethtool(void* command) {
    request_.ifr_data = static_cast<char*>(command);
    return call(SIOCETHTOOL);
  }
  const ifreq& answer() const { return request_; }

 private:
  FileDescriptor socket_;
  ifreq request_{};
};

}  // namespace

bool readDevice(const std::string& name, DeviceInfo* info, Failure* failure) {
  // A longer name would be cut, and could then name another device.
  if (name.empty() || name.size() >= IFNAMSIZ) return failure->set("if_nametoindex", ENODEV);
  info->index = ::if_nametoindex(name.c_str());
  if (info->index == 0) return failure->set("if_nametoindex", ENODEV);
  DeviceRequest request(name);
  if (!request.call(SIOCGIFMTU)) return failure->set("ioctl SIOCGIFMTU", errno);
  info->mtuBytes = static_cast<uint32_t>(request.answer().ifr_mtu);
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (request.ethtool(&driver)) info->driver = driver.driver;
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (!request.ethtool(&channels)) return true;  // many drivers have no channels
  info->receiveQueues = channels.rx_count + channels.combined_count;
  info->transmitQueues = channels.tx_count + channels.combined_count;
  info->receiveQueuesMax = channels.max_rx + channels.max_combined;
  info->transmitQueuesMax = channels.max_tx + channels.max_combined;
  return true;
}

bool setQueues(const std::string& name, uint32_t queues, Failure* failure) {
  if (name.empty() || name.size() >= IFNAMSIZ) return failure->set("ioctl SIOCETHTOOL", ENODEV);
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  DeviceRequest present(name);
  if (!present.ethtool(&channels)) return failure->set("ioctl ETHTOOL_GCHANNELS", errno);
  channels.cmd = ETHTOOL_SCHANNELS;
  channels.rx_count = queues;
  channels.tx_count = queues;
  DeviceRequest wanted(name);
  return wanted.ethtool(&channels) || failure->set("ioctl ETHTOOL_SCHANNELS", errno);
}

bool setOffload(const std::string& name, Offload offload, bool on, Failure* failure) {
  static constexpr uint32_t kCommands[] = {ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGRO,
                                           ETHTOOL_SGSO};
  if (name.empty() || name.size() >= IFNAMSIZ) return failure->set("ioctl SIOCETHTOOL", ENODEV);
  ethtool_value value{};
  value.cmd = kCommands[static_cast<uint32_t>(offload)];
  value.data = on ? 1 : 0;
  DeviceRequest request(name);
  return request.ethtool(&value) || failure->set("ioctl SIOCETHTOOL", errno);
}

bool sendFrame(const std::string& name, const void* frame, size_t bytes, Failure* failure) {
  if (name.empty() || name.size() >= IFNAMSIZ) return failure->set("if_nametoindex", ENODEV);
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) return failure->set("if_nametoindex", ENODEV);
  // Protocol 0: it receives nothing.
  const FileDescriptor packets(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!packets.valid()) return failure->set("socket", errno, "AF_PACKET");
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(index);
  const ssize_t sent = ::sendto(packets.get(), frame, bytes, 0,
                                reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return sent == static_cast<ssize_t>(bytes) || failure->set("sendto", errno);
}

}  // namespace xdp
