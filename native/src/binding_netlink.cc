// Node-API functions over a netlink socket, and the event loop's word that it is readable.
#include <uv.h>

#include "binding.h"
#include "netlink.h"

namespace xdp {

// Calls a function whenever the socket is readable. It owns itself once started: libuv needs the
// handle until its close callback has run.
class NetlinkWatch {
 public:
  static NetlinkWatch* start(Napi::Env env, const std::shared_ptr<Netlink>& netlink,
                             const Napi::Function& onReadable, Failure* failure) {
    uv_loop_s* loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    auto* watch = new NetlinkWatch(env, netlink, onReadable);
    const int result = uv_poll_init(loop, &watch->poll_, netlink->fd());
    if (result != 0) {
      failure->set("uv_poll_init", -result);
      delete watch;
      return nullptr;
    }
    watch->poll_.data = watch;
    napi_add_async_cleanup_hook(env, atExit, watch, &watch->hook_);
    uv_poll_start(&watch->poll_, UV_READABLE, [](uv_poll_t* poll, int, int) {
      static_cast<NetlinkWatch*>(poll->data)->call();
    });
    return watch;
  }

  void stop() {
    if (stopped_) return;
    stopped_ = true;
    uv_poll_stop(&poll_);
    onReadable_.Reset();
    context_.reset();
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* handle) {
      delete static_cast<NetlinkWatch*>(handle->data);
    });
  }

 private:
  NetlinkWatch(Napi::Env env, std::shared_ptr<Netlink> netlink, const Napi::Function& onReadable)
      : env_(env),
        netlink_(std::move(netlink)),
        context_(std::make_unique<Napi::AsyncContext>(env, "xdp-socket-napi:netlink")),
        onReadable_(Napi::Persistent(onReadable)) {}

  ~NetlinkWatch() {
    // The environment waits for this at its end, with the add-on loaded.
    if (hook_ != nullptr) napi_remove_async_cleanup_hook(hook_);
  }

  static void atExit(napi_async_cleanup_hook_handle, void* watch) {
    static_cast<NetlinkWatch*>(watch)->stop();
  }

  void call() {
    const Napi::HandleScope scope(env_);
    onReadable_.MakeCallback(Napi::Env(env_).Global(), {}, *context_);
    if (!Napi::Env(env_).IsExceptionPending()) return;
    const Napi::Error error = Napi::Env(env_).GetAndClearPendingException();
    napi_fatal_exception(env_, error.Value());
  }

  napi_env env_;
  std::shared_ptr<Netlink> netlink_;  // the descriptor stays open as long as libuv polls it
  std::unique_ptr<Napi::AsyncContext> context_;
  Napi::FunctionReference onReadable_;
  uv_poll_t poll_{};
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool stopped_ = false;
};

// What JavaScript holds: the socket, and its watch while there is one.
struct NetlinkHandle {
  std::shared_ptr<Netlink> netlink;
  NetlinkWatch* watch = nullptr;
};

template <>
struct Kind<NetlinkHandle> {
  static constexpr napi_type_tag tag = {0x7864702d6e6c6e6bULL, 1};
};

namespace {

// Arguments: protocol, groups (Uint32Array), bytes of the receive buffer.
Napi::Value openNetlink(const Napi::CallbackInfo& info) {
  NetlinkOptions options;
  options.protocol = info[0].ToNumber().Int32Value();
  const Napi::Uint32Array groups = info[1].As<Napi::Uint32Array>();
  for (size_t i = 0; i < groups.ElementLength(); i++) options.groups.push_back(groups[i]);
  options.receiveBufferBytes = info[2].ToNumber().Uint32Value();
  Failure failure;
  std::shared_ptr<Netlink> netlink = Netlink::open(options, &failure);
  if (netlink == nullptr) return throwFailure(info.Env(), failure);
  auto handle = std::make_shared<NetlinkHandle>();
  handle->netlink = std::move(netlink);
  return makeHandle(info.Env(), std::move(handle));
}

Napi::Value sendNetlink(const Napi::CallbackInfo& info) {
  const std::shared_ptr<NetlinkHandle> handle = fromHandle<NetlinkHandle>(info[0]);
  if (handle == nullptr) return info.Env().Undefined();
  const Napi::Uint8Array message = info[1].As<Napi::Uint8Array>();
  Failure failure;
  if (handle->netlink->send(message.Data(), message.ByteLength(), &failure)) {
    return info.Env().Undefined();
  }
  return throwFailure(info.Env(), failure);
}

// Returns the datagram's length, 0 when there is none.
Napi::Value receiveNetlink(const Napi::CallbackInfo& info) {
  const std::shared_ptr<NetlinkHandle> handle = fromHandle<NetlinkHandle>(info[0]);
  if (handle == nullptr) return info.Env().Undefined();
  Napi::Uint8Array buffer = info[1].As<Napi::Uint8Array>();
  Failure failure;
  const ssize_t bytes = handle->netlink->receive(buffer.Data(), buffer.ByteLength(), &failure);
  if (bytes < 0) return throwFailure(info.Env(), failure);
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

// One function at a time: a second call replaces the first.
Napi::Value watchNetlink(const Napi::CallbackInfo& info) {
  const std::shared_ptr<NetlinkHandle> handle = fromHandle<NetlinkHandle>(info[0]);
  if (handle == nullptr) return info.Env().Undefined();
  if (handle->watch != nullptr) std::exchange(handle->watch, nullptr)->stop();
  Failure failure;
  const Napi::Function onReadable = info[1].As<Napi::Function>();
  handle->watch = NetlinkWatch::start(info.Env(), handle->netlink, onReadable, &failure);
  return handle->watch == nullptr ? throwFailure(info.Env(), failure) : info.Env().Undefined();
}

Napi::Value closeNetlink(const Napi::CallbackInfo& info) {
  const std::shared_ptr<NetlinkHandle> handle = fromHandle<NetlinkHandle>(info[0]);
  if (handle == nullptr) return info.Env().Undefined();
  // With a watch, the descriptor is closed when libuv has let go of it.
  if (handle->watch != nullptr) {
    std::exchange(handle->watch, nullptr)->stop();
    handle->netlink = std::make_shared<Netlink>();
  } else {
    handle->netlink->close();
  }
  return info.Env().Undefined();
}

}  // namespace

void exportNetlink(Napi::Env env, Napi::Object exports) {
  exports.Set("openNetlink", Napi::Function::New<openNetlink>(env));
  exports.Set("sendNetlink", Napi::Function::New<sendNetlink>(env));
  exports.Set("receiveNetlink", Napi::Function::New<receiveNetlink>(env));
  exports.Set("watchNetlink", Napi::Function::New<watchNetlink>(env));
  exports.Set("closeNetlink", Napi::Function::New<closeNetlink>(env));
}

}  // namespace xdp
