// Loads the steering program (bpf/xdp_redirect.c) for one device, attaches it by a bpf_link, and
// edits its maps.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "failure.h"
#include "resource.h"

struct bpf_object;

namespace xdp {

enum class AttachMode { kAuto, kNative, kGeneric };

struct ProgramOptions {
  std::string objectPath;
  uint32_t interfaceIndex = 0;
  uint32_t mode = 0;  // settings[0] of the program: 0 pod, 1 uplink
  AttachMode attachMode = AttachMode::kAuto;
};

constexpr uint32_t kQueuesMax = 64;     // of the program's maps
constexpr uint32_t kVerdictsCounted = 3;  // redirect, pass, drop

class Program {
 public:
  static std::shared_ptr<Program> attach(const ProgramOptions& options, Failure* failure);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  bool isNative() const { return native_; }
  const std::string& attachReason() const { return attachReason_; }

  // A negative descriptor takes the queue's socket out.
  bool setSocket(uint32_t queue, int socketFd, Failure* failure);
  // Sets or deletes one key of a map whose value is one byte. `keyBytes` must be the map's key
  // size.
  bool edit(const char* map, const void* key, size_t keyBytes, bool present, Failure* failure);
  // Sums over all CPUs: per queue redirect, pass, drop.
  bool readCounters(double* counts, Failure* failure) const;
  // The nat_ports map itself, writable: rows of 65536 bytes.
  uint8_t* natPorts() const { return static_cast<uint8_t*>(natPorts_.data()); }
  size_t natPortsBytes() const { return natPorts_.size(); }

  // Closes the link: the program leaves the device. Safe to call again.
  void detach() { link_.reset(); }
  void unmap() { natPorts_.reset(); }

 private:
  Program() = default;
  bool load(const ProgramOptions& options, Failure* failure);
  bool link(const ProgramOptions& options, Failure* failure);
  int mapFd(const char* name) const;

  bpf_object* object_ = nullptr;
  FileDescriptor link_;
  Mapping natPorts_;
  bool native_ = false;
  std::string attachReason_;
};

}  // namespace xdp
