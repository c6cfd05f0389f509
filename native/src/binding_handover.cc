// Node-API functions for passing running sockets to another process: what is described, what is
// adopted, and the channel that descriptors go by. lib/handover.ts and the classes' `adopt` call it.
#include <algorithm>
#include <iterator>

#include "binding.h"
#include "descriptors.h"
#include "poller.h"
#include "program.h"
#include "socket.h"
#include "umem.h"

namespace xdp {

namespace {

std::vector<int> descriptorsFrom(const Napi::Value& value) {
  const Napi::Int32Array given = value.As<Napi::Int32Array>();
  return std::vector<int>(given.Data(), given.Data() + given.ElementLength());
}

Napi::Value descriptorsTo(Napi::Env env, const std::vector<int>& descriptors) {
  Napi::Int32Array result = Napi::Int32Array::New(env, descriptors.size());
  for (size_t i = 0; i < descriptors.size(); i++) result.Data()[i] = descriptors[i];
  return result;
}

Napi::Value adoptMemory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Umem> umem = fromHandle<Umem>(info[0]);
  if (umem == nullptr) return env.Undefined();
  Failure failure;
  const bool isDone = umem->adopt(info[1].ToNumber().Int32Value(), &failure);
  return isDone ? env.Undefined() : throwFailure(env, failure);
}

Napi::Value umemDescriptor(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Umem> umem = fromHandle<Umem>(info[0]);
  if (umem == nullptr) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), umem->fd());
}

// Fills a Float64Array with the owner tag and the counters, in the order of SocketCounters.
Napi::Value socketLedger(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Socket> socket = fromHandle<Socket>(info[0]);
  if (socket == nullptr) return info.Env().Undefined();
  const SocketCounters& counted = socket->counters;
  const uint64_t values[] = {socket->tag(),       counted.receivedFrames, counted.receivedBytes,
                             counted.sentFrames,  counted.sentBytes,      counted.sendDropped,
                             counted.kicks,       counted.kickErrors,
                             counted.chainsRefused};
  Napi::Float64Array result = info[1].As<Napi::Float64Array>();
  const size_t count = std::min(result.ElementLength(), std::size(values));
  for (size_t i = 0; i < count; i++) result.Data()[i] = static_cast<double>(values[i]);
  return info.Env().Undefined();
}

// Arguments: handle, what `socketLedger` of the process before gave.
Napi::Value setSocketCounters(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Socket> socket = fromHandle<Socket>(info[0]);
  if (socket == nullptr) return info.Env().Undefined();
  const Napi::Float64Array values = info[1].As<Napi::Float64Array>();
  SocketCounters& counters = socket->counters;
  uint64_t* const places[] = {&counters.receivedFrames, &counters.receivedBytes,
                              &counters.sentFrames,     &counters.sentBytes,
                              &counters.sendDropped,    &counters.kicks,
                              &counters.kickErrors,     &counters.chainsRefused};
  for (size_t i = 0; i < std::size(places) && i + 1 < values.ElementLength(); i++) {
    *places[i] = static_cast<uint64_t>(values.Data()[i + 1]);
  }
  return info.Env().Undefined();
}

Napi::Value pollerAddAdopted(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller == nullptr) return info.Env().Undefined();
  std::shared_ptr<Socket> socket = fromHandle<Socket>(info[1]);
  if (socket == nullptr) return info.Env().Undefined();
  Failure failure;
  const uint32_t port = info[2].ToNumber().Uint32Value();
  if (poller->addAdopted(std::move(socket), port, &failure)) return info.Env().Undefined();
  return throwFailure(info.Env(), failure);
}

Napi::Value pollerResume(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller != nullptr) poller->resume();
  return info.Env().Undefined();
}

Napi::Value pollerHandOver(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller != nullptr) poller->handOver();
  return info.Env().Undefined();
}

Napi::Value pollerAudit(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Poller> poller = fromHandle<Poller>(info[0]);
  if (poller == nullptr) return info.Env().Undefined();
  const Audit audit = poller->audit();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("free", audit.free);
  result.Set("onRings", audit.onRings);
  result.Set("inBurst", audit.inBurst);
  result.Set("socketsWrong", audit.socketsWrong);
  return result;
}

Napi::Value programDescriptors(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = fromHandle<Program>(info[0]);
  if (program == nullptr) return info.Env().Undefined();
  return descriptorsTo(info.Env(), program->descriptors());
}

Napi::Value programSweep(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = fromHandle<Program>(info[0]);
  if (program != nullptr) program->sweep();
  return info.Env().Undefined();
}

Napi::Value preparePinDirectory(const Napi::CallbackInfo& info) {
  Failure failure;
  if (preparePinDirectory(info[0].ToString(), &failure)) return info.Env().Undefined();
  return throwFailure(info.Env(), failure);
}

Napi::Value removePins(const Napi::CallbackInfo& info) {
  xdp::removePins(std::string(info[0].ToString()));
  return info.Env().Undefined();
}

Napi::Value channelResult(Napi::Env env, FileDescriptor descriptor, const Failure& failure) {
  if (failure.number != 0) return throwFailure(env, failure);
  return Napi::Number::New(env, descriptor.release());
}

Napi::Value listenForChannels(const Napi::CallbackInfo& info) {
  Failure failure;
  return channelResult(info.Env(), listenForChannels(info[0].ToString(), &failure), failure);
}

Napi::Value acceptChannel(const Napi::CallbackInfo& info) {
  Failure failure;
  return channelResult(info.Env(), acceptChannel(info[0].ToNumber().Int32Value(), &failure),
                       failure);
}

Napi::Value connectChannel(const Napi::CallbackInfo& info) {
  Failure failure;
  return channelResult(info.Env(), connectChannel(info[0].ToString(), &failure), failure);
}

const char* nameOf(Transfer transfer) {
  if (transfer == Transfer::kDone) return "done";
  return transfer == Transfer::kClosed ? "closed" : "nothing";
}

// Arguments: channel, text, descriptors. Returns "done", "nothing" or "closed".
Napi::Value sendMessage(const Napi::CallbackInfo& info) {
  const std::string text = info[1].ToString();
  Failure failure;
  const Transfer sent = sendMessage(info[0].ToNumber().Int32Value(), text.data(), text.size(),
                                    descriptorsFrom(info[2]), &failure);
  if (sent == Transfer::kFailed) return throwFailure(info.Env(), failure);
  return Napi::String::New(info.Env(), nameOf(sent));
}

// Arguments: channel, milliseconds. Returns "nothing", "closed", or an object; its descriptors are
// the caller's to close.
Napi::Value receiveMessage(const Napi::CallbackInfo& info) {
  Message message;
  Failure failure;
  const Transfer received = receiveMessage(info[0].ToNumber().Int32Value(),
                                           info[1].ToNumber().Int32Value(), &message, &failure);
  if (received == Transfer::kFailed) return throwFailure(info.Env(), failure);
  if (received != Transfer::kDone) return Napi::String::New(info.Env(), nameOf(received));
  std::vector<int> descriptors;
  for (FileDescriptor& each : message.descriptors) descriptors.push_back(each.release());
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("text", message.bytes);
  result.Set("descriptors", descriptorsTo(info.Env(), descriptors));
  return result;
}

Napi::Value closeDescriptor(const Napi::CallbackInfo& info) {
  FileDescriptor(info[0].ToNumber().Int32Value()).reset();
  return info.Env().Undefined();
}

}  // namespace

void exportHandover(Napi::Env env, Napi::Object exports) {
  exports.Set("adoptMemory", Napi::Function::New<adoptMemory>(env));
  exports.Set("umemDescriptor", Napi::Function::New<umemDescriptor>(env));
  exports.Set("socketLedger", Napi::Function::New<socketLedger>(env));
  exports.Set("setSocketCounters", Napi::Function::New<setSocketCounters>(env));
  exports.Set("pollerAddAdopted", Napi::Function::New<pollerAddAdopted>(env));
  exports.Set("pollerResume", Napi::Function::New<pollerResume>(env));
  exports.Set("pollerHandOver", Napi::Function::New<pollerHandOver>(env));
  exports.Set("pollerAudit", Napi::Function::New<pollerAudit>(env));
  exports.Set("programDescriptors", Napi::Function::New<programDescriptors>(env));
  exports.Set("programSweep", Napi::Function::New<programSweep>(env));
  exports.Set("preparePinDirectory", Napi::Function::New<preparePinDirectory>(env));
  exports.Set("removePins", Napi::Function::New<removePins>(env));
  exports.Set("listenForChannels", Napi::Function::New<listenForChannels>(env));
  exports.Set("acceptChannel", Napi::Function::New<acceptChannel>(env));
  exports.Set("connectChannel", Napi::Function::New<connectChannel>(env));
  exports.Set("sendMessage", Napi::Function::New<sendMessage>(env));
  exports.Set("receiveMessage", Napi::Function::New<receiveMessage>(env));
  exports.Set("closeDescriptor", Napi::Function::New<closeDescriptor>(env));
}

}  // namespace xdp
