// See program.h. The only user of libbpf.
#include "program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

namespace xdp {

namespace {

constexpr char kProgramName[] = "xdp_redirect";
constexpr uint32_t kModePod = 0;
constexpr size_t kLogBytesMax = 4096;

// Words of the map `settings`.
enum Setting : uint32_t { kMode = 0, kObjectHash = 1 };

// libbpf tells what it could not do through a print callback only; each thread loads its own
// program. Of much it is the end, where the verifier gives its reason.
thread_local std::string libbpfLog;

int collectLog(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  va_list forLength;
  va_copy(forLength, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, forLength);
  va_end(forLength);
  if (length <= 0) return length;
  std::string text(static_cast<size_t>(length) + 1, '\0');
  std::vsnprintf(text.data(), text.size(), format, arguments);
  libbpfLog.append(text, 0, static_cast<size_t>(length));
  if (libbpfLog.size() > kLogBytesMax) libbpfLog.erase(0, libbpfLog.size() - kLogBytesMax);
  return length;
}

// Not "cannot be attached in native mode" but "cannot be attached at all": generic mode would not
// help.
bool isFinal(int error) {
  return error == EPERM || error == EBUSY || error == EEXIST || error == ENODEV || error == EBADF;
}

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};

FileDescriptor duplicate(int fd) { return FileDescriptor(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

// Newer than some distributions' headers (include/uapi/linux/bpf.h).
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

// Does the kernel load programs for packets of several buffers (Linux 5.18)? A veth gets an MTU above
// a page with such a program only.
bool kernelTakesFrags() {
  static const bool takes = [] {
    const bpf_insn pass[] = {
        {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options);
    options.prog_flags = BPF_F_XDP_HAS_FRAGS;
    return FileDescriptor(bpf_prog_load(BPF_PROG_TYPE_XDP, "frags_probe", "GPL", pass,
                                        std::size(pass), &options))
        .valid();
  }();
  return takes;
}

// FNV-1a of the object's bytes: the version of the program and its maps.
uint32_t hashOfFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  uint32_t hash = 2166136261U;
  for (auto byte = std::istreambuf_iterator<char>(file); byte != std::istreambuf_iterator<char>();
       ++byte) {
    hash = (hash ^ static_cast<uint8_t>(*byte)) * 16777619U;
  }
  // Loaded otherwise, it is another program.
  return kernelTakesFrags() ? ~hash : hash;
}

}  // namespace

std::shared_ptr<Program> Program::attach(const ProgramOptions& options, Failure* failure) {
  std::shared_ptr<Program> program(new Program());
  program->pinDirectory_ = options.pinDirectory;
  return program->start(options, failure) && program->readMaps(failure) ? program : nullptr;
}

std::shared_ptr<Program> Program::adopt(const ProgramOptions& options,
                                        const std::vector<int>& descriptors, Failure* failure) {
  std::shared_ptr<Program> program(new Program());
  if (descriptors.size() != 1 + kMapCount) {
    failure->set("adopt", EPROTO, "another number of maps");
    return nullptr;
  }
  program->pinDirectory_ = options.pinDirectory;
  program->link_ = duplicate(descriptors[0]);
  for (size_t i = 0; i < kMapCount; i++) program->maps_[i] = duplicate(descriptors[i + 1]);
  if (!program->isLinkOf(options.interfaceIndex) || !program->isSame(options)) {
    failure->set("adopt", EPROTO, "another steering program");
    return nullptr;
  }
  program->noteAttachMode(options.interfaceIndex);
  return program->readMaps(failure) ? program : nullptr;
}

std::vector<int> Program::descriptors() const {
  std::vector<int> all{link_.get()};
  for (const FileDescriptor& map : maps_) all.push_back(map.get());
  return all;
}

bool Program::start(const ProgramOptions& options, Failure* failure) {
  const bool hasLink = isPinned() && openPinnedLink(options);
  if (hasLink && openPinnedMaps() && isSame(options)) {
    noteAttachMode(options.interfaceIndex);
    return true;
  }
  // Another version, or what is left of a device that is gone.
  if (!hasLink && isPinned()) removePins(pinDirectory_);
  if (!load(options, failure)) return false;
  if (isPinned()) pin();
  return true;
}

bool Program::load(const ProgramOptions& options, Failure* failure) {
  libbpfLog.clear();
  libbpf_set_print(collectLog);
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  const std::unique_ptr<bpf_object, ObjectCloser> object(
      bpf_object__open_file(options.objectPath.c_str(), nullptr));
  if (object == nullptr) return failure->set("bpf_object__open_file", errno, options.objectPath);
  // A pod's program never looks at them, and there is one per pod.
  bpf_map* natPorts = bpf_object__find_map_by_name(object.get(), kMapNames[kNatPorts]);
  if (natPorts != nullptr && options.mode == kModePod) bpf_map__set_max_entries(natPorts, 1);
  bpf_program* program = bpf_object__find_program_by_name(object.get(), kProgramName);
  if (program == nullptr) {
    return failure->set("bpf_object__find_program_by_name", ENOENT, kProgramName);
  }
  // The section's name could say so, too, but then no kernel before would load it.
  if (kernelTakesFrags()) {
    bpf_program__set_flags(program, bpf_program__flags(program) | BPF_F_XDP_HAS_FRAGS);
  }
  const int loaded = bpf_object__load(object.get());
  if (loaded != 0) return failure->set("bpf_object__load", -loaded, libbpfLog);
  for (size_t i = 0; i < kMapCount; i++) {
    maps_[i] = duplicate(bpf_object__find_map_fd_by_name(object.get(), kMapNames[i]));
    if (!maps_[i].valid()) return failure->set("bpf_object__find_map", ENOENT, kMapNames[i]);
  }
  const uint32_t settings[] = {options.mode, hashOfFile(options.objectPath)};
  for (const uint32_t key : {kMode, kObjectHash}) {
    if (bpf_map_update_elem(maps_[kSettings].get(), &key, &settings[key], BPF_ANY) == 0) continue;
    return failure->set("bpf_map_update_elem", errno, "settings");
  }
  return link(options, bpf_program__fd(program), failure);
}

bool Program::link(const ProgramOptions& options, int programFd, Failure* failure) {
  // In the place of the other version at once: no frame finds the device without a program.
  if (link_.valid()) {
    noteAttachMode(options.interfaceIndex);
    takenOver_ = false;
    return bpf_link_update(link_.get(), programFd, nullptr) == 0 ||
           failure->set("bpf_link_update", errno);
  }
  const int device = static_cast<int>(options.interfaceIndex);
  LIBBPF_OPTS(bpf_link_create_opts, linkOptions);
  if (options.attachMode != AttachMode::kGeneric) {
    linkOptions.flags = XDP_FLAGS_DRV_MODE;
    link_ = FileDescriptor(bpf_link_create(programFd, device, BPF_XDP, &linkOptions));
    const int error = errno;
    native_ = link_.valid();
    if (native_) return true;
    if (options.attachMode == AttachMode::kNative || isFinal(error)) {
      return failure->set("bpf_link_create", error, "native mode");
    }
    attachReason_ = std::string("the driver refused native mode: ") + std::strerror(error);
  } else {
    attachReason_ = "generic mode was asked for";
  }
  linkOptions.flags = XDP_FLAGS_SKB_MODE;
  link_ = FileDescriptor(bpf_link_create(programFd, device, BPF_XDP, &linkOptions));
  return link_.valid() || failure->set("bpf_link_create", errno, "generic mode");
}

// A link whose device is gone has index 0.
bool Program::isLinkOf(uint32_t interfaceIndex) const {
  bpf_link_info info{};
  uint32_t bytes = sizeof info;
  return link_.valid() && bpf_obj_get_info_by_fd(link_.get(), &info, &bytes) == 0 &&
         info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == interfaceIndex;
}

bool Program::isSame(const ProgramOptions& options) const {
  const uint32_t wanted[] = {options.mode, hashOfFile(options.objectPath)};
  for (const uint32_t key : {kMode, kObjectHash}) {
    uint32_t value = 0;
    if (bpf_map_lookup_elem(maps_[kSettings].get(), &key, &value) != 0) return false;
    if (value != wanted[key]) return false;
  }
  return true;
}

// What it is on the device: whoever attached it chose.
void Program::noteAttachMode(uint32_t interfaceIndex) {
  takenOver_ = sweepPending_ = true;
  LIBBPF_OPTS(bpf_xdp_query_opts, query);
  const bool known = bpf_xdp_query(static_cast<int>(interfaceIndex), 0, &query) == 0;
  native_ = known && query.attach_mode == XDP_ATTACHED_DRV;
  attachReason_ = native_ ? "" : "as the process before had it";
}

bool Program::readMaps(Failure* failure) {
  bpf_map_info info{};
  for (size_t i = 0; i < kMapCount; i++) {
    info = {};
    uint32_t infoBytes = sizeof info;
    if (bpf_obj_get_info_by_fd(maps_[i].get(), &info, &infoBytes) != 0) {
      return failure->set("bpf_obj_get_info_by_fd", errno, kMapNames[i]);
    }
    keyBytes_[i] = info.key_size;
  }
  // The last one is nat_ports.
  const size_t bytes = size_t{info.value_size} * info.max_entries;
  const int ports = maps_[kNatPorts].get();
  natPorts_ =
      Mapping(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ports, 0), bytes);
  return natPorts_.valid() || failure->set("mmap", errno, "nat_ports");
}

bool Program::setSocket(uint32_t queue, int socketFd, Failure* failure) {
  const int map = maps_[kSockets].get();
  if (socketFd < 0) {
    if (bpf_map_delete_elem(map, &queue) == 0 || errno == ENOENT) return true;
    return failure->set("bpf_map_delete_elem", errno, "sockets");
  }
  if (bpf_map_update_elem(map, &queue, &socketFd, BPF_ANY) == 0) return true;
  return failure->set("bpf_map_update_elem", errno, "sockets");
}

bool Program::readCounters(double* counts, Failure* failure) const {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return failure->set("libbpf_num_possible_cpus", -cpus);
  std::vector<uint64_t> perCpu(static_cast<size_t>(cpus));
  const int map = maps_[kCounters].get();
  for (uint32_t key = 0; key < kQueuesMax * kVerdictsCounted; key++) {
    if (bpf_map_lookup_elem(map, &key, perCpu.data()) != 0) {
      return failure->set("bpf_map_lookup_elem", errno, "counters");
    }
    uint64_t sum = 0;
    for (const uint64_t count : perCpu) sum += count;
    counts[key] = static_cast<double>(sum);
  }
  return true;
}

bool Program::edit(const char* name, const void* key, size_t keyBytes, bool present,
                   Failure* failure) {
  size_t index = kFirstSet;
  while (index <= kLastSet && std::strcmp(kMapNames[index], name) != 0) index++;
  if (index > kLastSet || keyBytes_[index] != keyBytes) {
    return failure->set("bpf_map_update_elem", EINVAL, name);
  }
  const int map = maps_[index].get();
  const std::string text(static_cast<const char*>(key), keyBytes);
  if (present) {
    const uint8_t value = 1;
    if (sweepPending_) told_[index].insert(text);
    return bpf_map_update_elem(map, key, &value, BPF_ANY) == 0 ||
           failure->set("bpf_map_update_elem", errno, name);
  }
  told_[index].erase(text);
  return bpf_map_delete_elem(map, key) == 0 || errno == ENOENT ||
         failure->set("bpf_map_delete_elem", errno, name);
}

void Program::sweep() {
  if (!sweepPending_) return;
  sweepPending_ = false;
  for (size_t index = kFirstSet; index <= kLastSet; index++) {
    const int map = maps_[index].get();
    std::string key(keyBytes_[index], '\0');
    std::string next(keyBytes_[index], '\0');
    std::vector<std::string> untold;
    for (const void* before = nullptr; bpf_map_get_next_key(map, before, next.data()) == 0;) {
      key = next;
      before = key.data();
      if (told_[index].count(key) == 0) untold.push_back(key);
    }
    for (const std::string& each : untold) bpf_map_delete_elem(map, each.data());
    told_[index].clear();
  }
}

}  // namespace xdp
