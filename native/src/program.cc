// See program.h. The only user of libbpf.
#include "program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

namespace xdp {

namespace {

constexpr char kProgramName[] = "xdp_redirect";
constexpr uint32_t kModePod = 0;
constexpr size_t kLogBytesMax = 4096;

// libbpf tells what it could not do through a print callback only; each thread loads its own
// program.
thread_local std::string libbpfLog;

int collectLog(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  char line[1024];
  const int length = std::vsnprintf(line, sizeof line, format, arguments);
  if (length > 0 && libbpfLog.size() < kLogBytesMax) libbpfLog += line;
  return length;
}

// Not "cannot be attached in native mode" but "cannot be attached at all": generic mode would not
// help.
bool isFinal(int error) {
  return error == EPERM || error == EBUSY || error == EEXIST || error == ENODEV || error == EBADF;
}

}  // namespace

std::shared_ptr<Program> Program::attach(const ProgramOptions& options, Failure* failure) {
  std::shared_ptr<Program> program(new Program());
  if (!program->load(options, failure) || !program->link(options, failure)) return nullptr;
  return program;
}

Program::~Program() {
  link_.reset();
  if (object_ != nullptr) bpf_object__close(object_);
}

bool Program::load(const ProgramOptions& options, Failure* failure) {
  libbpfLog.clear();
  libbpf_set_print(collectLog);
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  object_ = bpf_object__open_file(options.objectPath.c_str(), nullptr);
  if (object_ == nullptr) return failure->set("bpf_object__open_file", errno, options.objectPath);
  // A pod's program never looks at them, and there is one per pod.
  bpf_map* natPorts = bpf_object__find_map_by_name(object_, "nat_ports");
  if (natPorts != nullptr && options.mode == kModePod) bpf_map__set_max_entries(natPorts, 1);
  const int loaded = bpf_object__load(object_);
  if (loaded != 0) return failure->set("bpf_object__load", -loaded, libbpfLog);
  const uint32_t zero = 0;
  if (bpf_map_update_elem(mapFd("settings"), &zero, &options.mode, BPF_ANY) != 0) {
    return failure->set("bpf_map_update_elem", errno, "settings");
  }
  const bpf_map* ports = bpf_object__find_map_by_name(object_, "nat_ports");
  if (ports == nullptr) return failure->set("bpf_object__find_map_by_name", ENOENT, "nat_ports");
  const size_t bytes = size_t{bpf_map__value_size(ports)} * bpf_map__max_entries(ports);
  natPorts_ = Mapping(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(ports), 0), bytes);
  return natPorts_.valid() || failure->set("mmap", errno, "nat_ports");
}

bool Program::link(const ProgramOptions& options, Failure* failure) {
  const bpf_program* program = bpf_object__find_program_by_name(object_, kProgramName);
  if (program == nullptr) {
    return failure->set("bpf_object__find_program_by_name", ENOENT, kProgramName);
  }
  const int programFd = bpf_program__fd(program);
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

int Program::mapFd(const char* name) const {
  return bpf_object__find_map_fd_by_name(object_, name);
}

bool Program::setSocket(uint32_t queue, int socketFd, Failure* failure) {
  const int map = mapFd("sockets");
  if (socketFd < 0) {
    if (bpf_map_delete_elem(map, &queue) == 0 || errno == ENOENT) return true;
    return failure->set("bpf_map_delete_elem", errno, "sockets");
  }
  if (bpf_map_update_elem(map, &queue, &socketFd, BPF_ANY) == 0) return true;
  return failure->set("bpf_map_update_elem", errno, "sockets");
}

bool Program::edit(const char* name, const void* key, size_t keyBytes, bool present,
                   Failure* failure) {
  const bpf_map* map = bpf_object__find_map_by_name(object_, name);
  if (map == nullptr || bpf_map__key_size(map) != keyBytes || bpf_map__value_size(map) != 1) {
    return failure->set("bpf_map_update_elem", EINVAL, name);
  }
  const uint8_t value = 1;
  if (present) {
    return bpf_map_update_elem(bpf_map__fd(map), key, &value, BPF_ANY) == 0 ||
           failure->set("bpf_map_update_elem", errno, name);
  }
  return bpf_map_delete_elem(bpf_map__fd(map), key) == 0 || errno == ENOENT ||
         failure->set("bpf_map_delete_elem", errno, name);
}

bool Program::readCounters(double* counts, Failure* failure) const {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return failure->set("libbpf_num_possible_cpus", -cpus);
  std::vector<uint64_t> perCpu(static_cast<size_t>(cpus));
  const int map = mapFd("counters");
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

}  // namespace xdp
