// Loads the steering program (bpf/xdp_redirect.c) for one device, attaches it by a bpf_link, and
// edits its maps. The link ends with the process, is pinned in a bpffs, or comes from another
// process.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "failure.h"
#include "resource.h"

namespace xdp {

// Maps of the program, in the order in which their descriptors are passed on, and their names in a
// pin directory. Another order is another version, which the hash of the object tells.
constexpr size_t kMapCount = 12;
constexpr const char* kMapNames[kMapCount] = {
    "sockets", "settings",  "counters", "frontends", "pod_cidrs", "nat_addresses",
    "guarded", "announced", "denied",   "vlans",     "datagrams", "nat_ports",
};
// Of `kMapNames`.
enum MapIndex : size_t {
  kSockets = 0,
  kSettings = 1,
  kCounters = 2,
  kFirstSet = 3,
  kLastSet = 9,
  kNatPorts = 11,
};
constexpr char kPinnedLink[] = "link";

enum class AttachMode { kAuto, kNative, kGeneric };

struct ProgramOptions {
  std::string objectPath;
  uint32_t interfaceIndex = 0;
  uint32_t mode = 0;  // settings[0] of the program: 0 pod, 1 uplink, 2 uplink that keeps its own
  AttachMode attachMode = AttachMode::kAuto;
  // A directory in a bpffs, for this device alone; empty: the link lives as long as the process.
  std::string pinDirectory;
};

constexpr uint32_t kQueuesMax = 64;     // of the program's maps
constexpr uint32_t kVerdictsCounted = 3;  // redirect, pass, drop

class Program {
 public:
  // With a pin directory that holds a link of this device, that link and its maps are taken over;
  // another version of the program takes its place on the link, so that no frame finds none.
  static std::shared_ptr<Program> attach(const ProgramOptions& options, Failure* failure);
  // From the descriptors that `descriptors` of another process gave; they are duplicated.
  static std::shared_ptr<Program> adopt(const ProgramOptions& options,
                                        const std::vector<int>& descriptors, Failure* failure);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  bool isNative() const { return native_; }
  const std::string& attachReason() const { return attachReason_; }
  // It was on the device before this process.
  bool isTakenOver() const { return takenOver_; }
  bool isPinned() const { return !pinDirectory_.empty(); }
  // Empty, or why it is not pinned although it was to be.
  const std::string& pinReason() const { return pinReason_; }
  // The link, then the maps in the order of `kMapNames`.
  std::vector<int> descriptors() const;

  // A negative descriptor takes the queue's socket out.
  bool setSocket(uint32_t queue, int socketFd, Failure* failure);
  // Sets or deletes one key of a map whose value is one byte. `keyBytes` must be the map's key
  // size.
  bool edit(const char* map, const void* key, size_t keyBytes, bool present, Failure* failure);
  // Deletes what a process before put into a program that was taken over and `edit` has not named
  // since. Does nothing for others, and the second time.
  void sweep();
  // Sums over all CPUs: per queue redirect, pass, drop.
  bool readCounters(double* counts, Failure* failure) const;
  // The nat_ports map itself, writable: rows of 65536 bytes.
  uint8_t* natPorts() const { return static_cast<uint8_t*>(natPorts_.data()); }
  size_t natPortsBytes() const { return natPorts_.size(); }

  // Takes the program off the device, pins and all. Safe to call again.
  void detach();
  // Lets go of a pinned program, which stays on the device; of any other it is `detach`.
  void release();
  void unmap() { natPorts_.reset(); }

 private:
  Program() = default;
  bool start(const ProgramOptions& options, Failure* failure);
  bool load(const ProgramOptions& options, Failure* failure);
  bool link(const ProgramOptions& options, int programFd, Failure* failure);
  bool openPinnedLink(const ProgramOptions& options);
  bool openPinnedMaps();
  bool pinMap(size_t index) const;
  void pin();
  bool isLinkOf(uint32_t interfaceIndex) const;
  bool isSame(const ProgramOptions& options) const;
  void noteAttachMode(uint32_t interfaceIndex);
  bool readMaps(Failure* failure);
  std::string pinPath(const char* name) const { return pinDirectory_ + "/" + name; }

  FileDescriptor link_;
  std::array<FileDescriptor, kMapCount> maps_;
  std::array<uint32_t, kMapCount> keyBytes_{};
  Mapping natPorts_;
  std::string pinDirectory_;
  bool native_ = false;
  bool takenOver_ = false;
  bool sweepPending_ = false;
  std::array<std::set<std::string>, kMapCount> told_;  // keys edited while a sweep is pending
  std::string attachReason_;
  std::string pinReason_;
};

// Removes what is pinned in a device's directory, and the directory: a program that only the pin
// kept leaves its device.
void removePins(const std::string& directory);

// Makes the directory in a bpffs, which is mounted when there is none: at /sys/fs/bpf for what is
// below it, else at the directory itself.
bool preparePinDirectory(const std::string& directory, Failure* failure);

}  // namespace xdp
