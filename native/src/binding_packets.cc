// Node-API functions over Umem, Socket and Poller. `exchange` and `wait` are raw functions bound to
// their poller: the hot path pays for one number in and one out.
#include <algorithm>

#include "binding.h"
#include "poller.h"
#include "socket.h"
#include "umem.h"

namespace xdp {

namespace {

Napi::Value createUmem(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object given = info[0].As<Napi::Object>();
  UmemOptions options;
  options.frameCount = numberAt(given, "frameCount");
  options.strideBytes = numberAt(given, "strideBytes");
  options.headroomBytes = numberAt(given, "headroomBytes");
  options.tryHugePages = given.Get("tryHugePages").ToBoolean();
  Failure failure;
  const std::shared_ptr<Umem> umem = Umem::create(options, &failure);
  if (umem == nullptr) return throwFailure(env, failure);
  Napi::Object result = Napi::Object::New(env);
  result.Set("buffer", makeBuffer(env, umem->data(), umem->bytes(), umem));
  result.Set("pool", makeBuffer(env, umem->poolWords(), umem->poolBytes(), umem));
  result.Set("chains", makeBuffer(env, umem->chainWords(), umem->chainBytes(), umem));
  result.Set("hugePages", umem->hugePages());
  result.Set("hugePagesReason", umem->hugePagesReason());
  result.Set("handle", makeHandle(env, umem));
  return result;
}

// Arguments: handle, and the three buffers, which must not reach the memory once it is gone.
Napi::Value closeUmem(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Umem> umem = fromHandle<Umem>(info[0]);
  if (umem == nullptr) return info.Env().Undefined();
  info[1].As<Napi::ArrayBuffer>().Detach();
  info[2].As<Napi::ArrayBuffer>().Detach();
  info[3].As<Napi::ArrayBuffer>().Detach();
  umem->release();
  return info.Env().Undefined();
}

// Arguments: UMEM, options, and to adopt a socket of another process its descriptor and owner tag.
Napi::Value openSocket(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Umem> umem = fromHandle<Umem>(info[0]);
  if (umem == nullptr) return env.Undefined();
  const Napi::Object given = info[1].As<Napi::Object>();
  SocketOptions options;
  options.interfaceIndex = numberAt(given, "interfaceIndex");
  options.queue = numberAt(given, "queue");
  options.rxRingSize = numberAt(given, "rxRingSize");
  options.txRingSize = numberAt(given, "txRingSize");
  options.fillRingSize = numberAt(given, "fillRingSize");
  options.completionRingSize = numberAt(given, "completionRingSize");
  options.fillTarget = numberAt(given, "fillTarget");
  options.tryZeroCopy = given.Get("tryZeroCopy").ToBoolean();
  options.tryMultiBuffer = given.Get("tryMultiBuffer").ToBoolean();
  options.busyPollMicroseconds = numberAt(given, "busyPollMicroseconds");
  options.busyPollBudget = numberAt(given, "busyPollBudget");
  Failure failure;
  const bool isNew = info[2].IsNull();
  std::shared_ptr<Socket> socket =
      isNew ? Socket::open(std::move(umem), options, &failure)
            : Socket::adopt(std::move(umem), options, info[2].ToNumber().Int32Value(),
                            static_cast<OwnerTag>(info[3].ToNumber().Uint32Value()), &failure);
  if (socket == nullptr) return throwFailure(env, failure);
  Napi::Object result = Napi::Object::New(env);
  result.Set("zeroCopy", socket->zeroCopy());
  result.Set("modeReason", socket->modeReason());
  result.Set("multiBuffer", socket->multiBuffer());
  result.Set("multiBufferReason", socket->multiBufferReason());
  result.Set("fd", socket->fd());
  result.Set("handle", makeHandle(env, std::move(socket)));
  return result;
}

Napi::Value closeSocket(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Socket> socket = fromHandle<Socket>(info[0]);
  if (socket != nullptr) socket->close();
  return info.Env().Undefined();
}

// Fills a Float64Array in the order of `SocketCounter` in lib/socket.ts.
Napi::Value socketStatistics(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Socket> socket = fromHandle<Socket>(info[0]);
  if (socket == nullptr) return env.Undefined();
  xdp_statistics kernel{};
  Failure failure;
  if (!socket->down && !socket->kernelStatistics(&kernel, &failure)) {
    return throwFailure(env, failure);
  }
  const SocketCounters& counted = socket->counters;
  const uint64_t values[] = {
      counted.receivedFrames,  counted.receivedBytes,  counted.sentFrames,
      counted.sentBytes,       counted.sendDropped,    counted.kicks,
      counted.kickErrors,      kernel.rx_dropped,      kernel.rx_ring_full,
      kernel.rx_fill_ring_empty_descs, kernel.rx_invalid_descs, kernel.tx_invalid_descs,
      kernel.tx_ring_empty_descs, socket->receiveSideFrames(), socket->transmitSideFrames(),
      socket->down ? 1U : 0U,  counted.chainsRefused,
  };
  Napi::Float64Array result = info[1].As<Napi::Float64Array>();
  const size_t count = std::min(result.ElementLength(), sizeof values / sizeof values[0]);
  for (size_t i = 0; i < count; i++) result.Data()[i] = static_cast<double>(values[i]);
  return env.Undefined();
}

Poller* boundPoller(napi_env env, napi_callback_info info, int32_t* argument) {
  napi_value value = nullptr;
  size_t count = 1;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, &value, nullptr, &data);
  if (napi_get_value_int32(env, value, argument) != napi_ok) *argument = 0;
  return static_cast<std::shared_ptr<Poller>*>(data)->get();
}

napi_value exchange(napi_env env, napi_callback_info info) {
  int32_t most = 0;
  Poller* poller = boundPoller(env, info, &most);
  napi_value result = nullptr;
  napi_create_int32(env, poller->exchange(most > 0 ? static_cast<uint32_t>(most) : 0), &result);
  return result;
}

napi_value waitForFrames(napi_env env, napi_callback_info info) {
  int32_t timeout = 0;
  Poller* poller = boundPoller(env, info, &timeout);
  napi_value result = nullptr;
  napi_get_boolean(env, poller->wait(timeout), &result);
  return result;
}

Napi::Value bindFunction(Napi::Env env, const char* name, napi_callback function,
                         const std::shared_ptr<Poller>& poller) {
  auto* keeper = new std::shared_ptr<Poller>(poller);
  napi_value result = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, keeper, &result);
  napi_add_finalizer(
      env, result, keeper,
      [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Poller>*>(data); },
      nullptr, nullptr);
  return Napi::Value(env, result);
}

// The caller keeps `words` reachable until the poller is closed; lib/poller.ts holds it in the
// instance.
Napi::Value createPoller(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Umem> umem = fromHandle<Umem>(info[0]);
  if (umem == nullptr) return env.Undefined();
  Napi::Int32Array words = info[1].As<Napi::Int32Array>();
  Failure failure;
  const std::shared_ptr<Poller> poller =
      Poller::create(std::move(umem), words.Data(), static_cast<uint32_t>(words.ElementLength()),
                     &failure);
  if (poller == nullptr) return throwFailure(env, failure);
  Napi::Object result = Napi::Object::New(env);
  result.Set("exchange", bindFunction(env, "exchange", exchange, poller));
  result.Set("wait", bindFunction(env, "wait", waitForFrames, poller));
  result.Set("wakeFd", poller->wakeFd());
  result.Set("handle", makeHandle(env, poller));
  return result;
}

Napi::Value pollerAdd(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller == nullptr) return info.Env().Undefined();
  std::shared_ptr<Socket> socket = fromHandle<Socket>(info[1]);
  if (socket == nullptr) return info.Env().Undefined();
  Failure failure;
  if (!poller->add(std::move(socket), info[2].ToNumber().Uint32Value(), &failure)) {
    return throwFailure(info.Env(), failure);
  }
  return info.Env().Undefined();
}

Napi::Value teardown(Napi::Env env, const Teardown& done) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("framesReturned", done.framesReturned);
  result.Set("sendsAbandoned", done.sendsAbandoned);
  return result;
}

Napi::Value pollerRemove(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller == nullptr) return info.Env().Undefined();
  const std::shared_ptr<Socket> socket = fromHandle<Socket>(info[1]);
  if (socket == nullptr) return info.Env().Undefined();
  return teardown(info.Env(), poller->remove(socket.get()));
}

Napi::Value pollerClose(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller == nullptr) return info.Env().Undefined();
  return teardown(info.Env(), poller->close());
}

Napi::Value framesOnRings(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller == nullptr) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), poller->framesOnRings());
}

Napi::Value unroutedDrops(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller == nullptr) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(poller->unroutedDrops()));
}

}  // namespace

void exportPackets(Napi::Env env, Napi::Object exports) {
  exports.Set("createUmem", Napi::Function::New<createUmem>(env));
  exports.Set("closeUmem", Napi::Function::New<closeUmem>(env));
  exports.Set("openSocket", Napi::Function::New<openSocket>(env));
  exports.Set("closeSocket", Napi::Function::New<closeSocket>(env));
  exports.Set("socketStatistics", Napi::Function::New<socketStatistics>(env));
  exports.Set("createPoller", Napi::Function::New<createPoller>(env));
  exports.Set("pollerAdd", Napi::Function::New<pollerAdd>(env));
  exports.Set("pollerRemove", Napi::Function::New<pollerRemove>(env));
  exports.Set("pollerClose", Napi::Function::New<pollerClose>(env));
  exports.Set("framesOnRings", Napi::Function::New<framesOnRings>(env));
  exports.Set("unroutedDrops", Napi::Function::New<unroutedDrops>(env));
}

}  // namespace xdp
