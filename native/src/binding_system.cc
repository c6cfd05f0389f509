// Node-API functions that need no packet memory: devices, waking a poller, memory shared between
// processes. Also the module's entry.
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "binding.h"
#include "device.h"
#include "huge_pages.h"
#include "resource.h"

namespace xdp {

Napi::Value throwFailure(Napi::Env env, const Failure& failure) {
  std::string message = std::string(failure.call) + ": " + std::strerror(failure.number);
  if (!failure.detail.empty()) message += " (" + failure.detail + ")";
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("syscall", Napi::String::New(env, failure.call));
  error.Set("errno", Napi::Number::New(env, failure.number));
  error.ThrowAsJavaScriptException();
  return env.Undefined();
}

namespace {

constexpr mode_t kOwnerOnly = 0600;

Napi::Value deviceInfo(const Napi::CallbackInfo& info) {
  DeviceInfo device;
  Failure failure;
  if (!readDevice(info[0].ToString(), &device, &failure)) return throwFailure(info.Env(), failure);
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("index", device.index);
  result.Set("mtuBytes", device.mtuBytes);
  result.Set("receiveQueues", device.receiveQueues);
  result.Set("transmitQueues", device.transmitQueues);
  result.Set("receiveQueuesMax", device.receiveQueuesMax);
  result.Set("transmitQueuesMax", device.transmitQueuesMax);
  result.Set("driver", device.driver);
  return result;
}

// Arguments: device, queues of each direction.
Napi::Value setDeviceQueues(const Napi::CallbackInfo& info) {
  Failure failure;
  if (setQueues(info[0].ToString(), info[1].ToNumber().Uint32Value(), &failure)) {
    return info.Env().Undefined();
  }
  return throwFailure(info.Env(), failure);
}

// Arguments: device, the number of the offload as in lib/device.ts, on.
Napi::Value setDeviceOffload(const Napi::CallbackInfo& info) {
  Failure failure;
  const Offload offload = static_cast<Offload>(info[1].ToNumber().Uint32Value() & 3);
  if (setOffload(info[0].ToString(), offload, info[2].ToBoolean(), &failure)) {
    return info.Env().Undefined();
  }
  return throwFailure(info.Env(), failure);
}

// Arguments: device, frame.
Napi::Value sendFrame(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array frame = info[1].As<Napi::Uint8Array>();
  Failure failure;
  if (sendFrame(info[0].ToString(), frame.Data(), frame.ByteLength(), &failure)) {
    return info.Env().Undefined();
  }
  return throwFailure(info.Env(), failure);
}

// Any thread may call it: adding to an eventfd is atomic.
Napi::Value wakePoller(const Napi::CallbackInfo& info) {
  const uint64_t one = 1;
  const ssize_t written = ::write(info[0].ToNumber().Int32Value(), &one, sizeof one);
  // A full counter means that it was woken already.
  if (written == sizeof one || errno == EAGAIN) return info.Env().Undefined();
  Failure failure;
  failure.set("write", errno, "the poller's eventfd");
  return throwFailure(info.Env(), failure);
}

// Arguments: path of a unix datagram socket ('@' first: an abstract one), text. Never waits.
Napi::Value sendDatagram(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString();
  const std::string text = info[1].ToString();
  Failure failure;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    failure.set("sendto", ENAMETOOLONG, path);
    return throwFailure(info.Env(), failure);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  const socklen_t length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  const auto* to = reinterpret_cast<const sockaddr*>(&address);
  if (socket.valid() &&
      ::sendto(socket.get(), text.data(), text.size(), flags, to, length) >= 0) {
    return info.Env().Undefined();
  }
  failure.set("sendto", errno, path);
  return throwFailure(info.Env(), failure);
}

// Zeros, with room for all of them: a sparse file on a file system that is full is a SIGBUS at the
// first store, which nobody can tell of. A file that is made for it goes again when there is none.
bool lengthen(int file, const std::string& path, size_t present, size_t bytes, Failure* failure) {
  const off_t from = static_cast<off_t>(present);
  int error = EINTR;
  while (error == EINTR) {
    error = ::posix_fallocate(file, from, static_cast<off_t>(bytes - present));
  }
  if (error == 0) return true;
  if (present == 0) ::unlink(path.c_str());
  return failure->set("posix_fallocate", error, path);
}

// Arguments: path, bytes (0: as long as the file is), create. Returns a handle and a buffer.
Napi::Value mapSharedFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = info[0].ToString();
  size_t bytes = static_cast<size_t>(info[1].ToNumber().Int64Value());
  const bool create = info[2].ToBoolean();
  Failure failure;
  const int flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0);
  const FileDescriptor file(::open(path.c_str(), flags, kOwnerOnly));
  if (!file.valid()) {
    failure.set("open", errno, path);
    return throwFailure(env, failure);
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    failure.set("fstat", errno, path);
    return throwFailure(env, failure);
  }
  const size_t present = static_cast<size_t>(status.st_size);
  const bool isNew = present == 0;
  if (bytes == 0) bytes = present;
  // Touching a page past the end of the file would be a SIGBUS.
  if (present < bytes && !create) {
    failure.set("mmap", EINVAL, path + " is shorter than was asked for");
    return throwFailure(env, failure);
  }
  if (present < bytes && !lengthen(file.get(), path, present, bytes, &failure)) {
    return throwFailure(env, failure);
  }
  auto mapping = std::make_shared<Mapping>(mapAligned(file.get(), bytes));
  if (!mapping->valid()) {
    failure.set("mmap", errno, path);
    return throwFailure(env, failure);
  }
  // Others who map it get the same pages, and huge ones by their first touch.
  if (isNew && bytes >= kHugePageBytes) collapse(*mapping);
  void* data = mapping->data();
  Napi::Object result = Napi::Object::New(env);
  result.Set("buffer", makeBuffer(env, data, bytes, mapping));
  result.Set("handle", makeHandle(env, std::move(mapping)));
  return result;
}

// Arguments: bytes. Zeros, at a page's beginning, in huge pages where the kernel has some; they go with the buffer. All are
// there at once: a packet that is the first to touch a huge page would wait until two megabytes are cleared.
Napi::Value allocateMemory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const size_t bytes = static_cast<size_t>(info[0].ToNumber().Int64Value());
  const size_t whole = roundUp(bytes, kHugePageBytes);
  auto mapping = std::make_shared<Mapping>(
      ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), whole);
  if (!mapping->valid()) {
    Failure failure;
    failure.set("mmap", errno);
    return throwFailure(env, failure);
  }
  // A refusal costs speed alone, and a kernel before 5.14 gives each page when it is touched.
  ::madvise(mapping->data(), whole, MADV_HUGEPAGE);
  if (::madvise(mapping->data(), whole, MADV_POPULATE_WRITE) != 0 && errno == ENOMEM) {
    Failure failure;
    failure.set("madvise", errno);
    return throwFailure(env, failure);
  }
  void* data = mapping->data();
  return makeBuffer(env, data, bytes, mapping);
}

// Arguments: thread, 0 for the calling one.
Napi::Value threadCores(const Napi::CallbackInfo& info) {
  cpu_set_t set;
  if (::sched_getaffinity(info[0].ToNumber().Int32Value(), sizeof set, &set) != 0) {
    Failure failure;
    failure.set("sched_getaffinity", errno);
    return throwFailure(info.Env(), failure);
  }
  Napi::Array cores = Napi::Array::New(info.Env());
  for (uint32_t core = 0; core < CPU_SETSIZE; core++) {
    if (CPU_ISSET(core, &set)) cores.Set(cores.Length(), core);
  }
  return cores;
}

// Arguments: numbers of cores, each below CPU_SETSIZE; thread, 0 for the calling one.
Napi::Value setThreadCores(const Napi::CallbackInfo& info) {
  const Napi::Int32Array cores = info[0].As<Napi::Int32Array>();
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t i = 0; i < cores.ElementLength(); i++) CPU_SET(cores[i], &set);
  if (::sched_setaffinity(info[1].ToNumber().Int32Value(), sizeof set, &set) == 0) {
    return info.Env().Undefined();
  }
  Failure failure;
  failure.set("sched_setaffinity", errno);
  return throwFailure(info.Env(), failure);
}

Napi::Value unmapSharedFile(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Mapping> mapping = fromHandle<Mapping>(info[0]);
  if (mapping == nullptr) return info.Env().Undefined();
  info[1].As<Napi::ArrayBuffer>().Detach();
  mapping->reset();
  return info.Env().Undefined();
}

}  // namespace

void exportSystem(Napi::Env env, Napi::Object exports) {
  exports.Set("deviceInfo", Napi::Function::New<deviceInfo>(env));
  exports.Set("setDeviceQueues", Napi::Function::New<setDeviceQueues>(env));
  exports.Set("setDeviceOffload", Napi::Function::New<setDeviceOffload>(env));
  exports.Set("sendFrame", Napi::Function::New<sendFrame>(env));
  exports.Set("threadCores", Napi::Function::New<threadCores>(env));
  exports.Set("setThreadCores", Napi::Function::New<setThreadCores>(env));
  exports.Set("sendDatagram", Napi::Function::New<sendDatagram>(env));
  exports.Set("wakePoller", Napi::Function::New<wakePoller>(env));
  exports.Set("allocateMemory", Napi::Function::New<allocateMemory>(env));
  exports.Set("mapSharedFile", Napi::Function::New<mapSharedFile>(env));
  exports.Set("unmapSharedFile", Napi::Function::New<unmapSharedFile>(env));
}

namespace {

Napi::Object start(Napi::Env env, Napi::Object exports) {
  exportHandover(env, exports);
  exportNetlink(env, exports);
  exportPackets(env, exports);
  exportProgram(env, exports);
  exportSystem(env, exports);
  return exports;
}

}  // namespace

}  // namespace xdp

static Napi::Object startModule(Napi::Env env, Napi::Object exports) {
  return xdp::start(env, exports);
}

NODE_API_MODULE(xdp_socket, startModule)
