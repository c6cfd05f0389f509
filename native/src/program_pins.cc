// The pinned part of a program: link and maps under names in a bpffs (bpf(2), BPF_OBJ_PIN), so that
// they outlive their process and the next one finds them.
#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cstring>
#include <filesystem>

#include "program.h"

namespace xdp {

namespace {

constexpr char kSystemMount[] = "/sys/fs/bpf";
constexpr mode_t kOwnerOnly = 0700;

bool isBpffs(const std::string& path) {
  struct statfs status {};
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == BPF_FS_MAGIC;
}

bool makeDirectories(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  return !error || std::filesystem::is_directory(directory, error);
}

bool mountBpffs(const std::string& directory, Failure* failure) {
  return isBpffs(directory) || ::mount("bpf", directory.c_str(), "bpf", 0, "mode=0700") == 0 ||
         failure->set("mount", errno, "bpf on " + directory);
}

}  // namespace

bool preparePinDirectory(const std::string& directory, Failure* failure) {
  const std::string system = kSystemMount;
  const bool isBelowSystem = directory.compare(0, system.size() + 1, system + "/") == 0;
  if (isBelowSystem && !mountBpffs(system, failure)) return false;
  if (!makeDirectories(directory)) return failure->set("mkdir", errno, directory);
  return isBelowSystem || mountBpffs(directory, failure);
}

void removePins(const std::string& directory) {
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  // A bpffs of our own, which `preparePinDirectory` mounted here.
  if (isBpffs(directory) && ::umount2(directory.c_str(), MNT_DETACH) == 0) {
    std::filesystem::remove(directory, ignored);
  }
}

bool Program::openPinnedLink(const ProgramOptions& options) {
  link_ = FileDescriptor(bpf_obj_get(pinPath(kPinnedLink).c_str()));
  if (isLinkOf(options.interfaceIndex)) return true;
  link_.reset();
  return false;
}

bool Program::openPinnedMaps() {
  for (size_t i = 0; i < kMapCount; i++) {
    maps_[i] = FileDescriptor(bpf_obj_get(pinPath(kMapNames[i]).c_str()));
    if (!maps_[i].valid()) return false;
  }
  return true;
}

bool Program::pinMap(size_t index) const {
  const std::string path = pinPath(kMapNames[index]);
  // That of another version of the program, whose link this one has now.
  ::unlink(path.c_str());
  return bpf_obj_pin(maps_[index].get(), path.c_str()) == 0;
}

// Where that fails the program goes with the process, and the reason is told.
void Program::pin() {
  const auto fail = [this](const std::string& call) {
    pinReason_ = call + ": " + std::strerror(errno);
    removePins(pinDirectory_);
    pinDirectory_.clear();
  };
  if (!isBpffs(std::filesystem::path(pinDirectory_).parent_path())) {
    errno = ENODEV;
    return fail("no bpffs at " + pinDirectory_);
  }
  ::mkdir(pinDirectory_.c_str(), kOwnerOnly);
  // What tells one version of the program from another goes first and comes last: who finds it after a kill
  // in between finds the maps of one program.
  ::unlink(pinPath(kMapNames[kSettings]).c_str());
  for (size_t i = 0; i < kMapCount; i++) {
    if (i != kSettings && !pinMap(i)) return fail(std::string("pinning ") + kMapNames[i]);
  }
  if (!pinMap(kSettings)) return fail(std::string("pinning ") + kMapNames[kSettings]);
  // The link last: without it the rest is taken for left over.
  if (bpf_obj_pin(link_.get(), pinPath(kPinnedLink).c_str()) == 0 || errno == EEXIST) return;
  fail("pinning the link");
}

void Program::detach() {
  if (isPinned() && link_.valid()) removePins(pinDirectory_);
  release();
}

// Here and not in the destructor: that is a finalizer's to call, for which a worker has no time.
void Program::release() {
  link_.reset();
  for (FileDescriptor& map : maps_) map.reset();
}

}  // namespace xdp
