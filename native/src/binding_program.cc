// Node-API functions over Program: attach, sockets by queue, map edits, counters.
#include "binding.h"
#include "program.h"
#include "socket.h"

namespace xdp {

namespace {

AttachMode attachModeFrom(const std::string& text) {
  if (text == "native") return AttachMode::kNative;
  return text == "generic" ? AttachMode::kGeneric : AttachMode::kAuto;
}

// Arguments: options, and the descriptors of another process's program, or null.
Napi::Value attachProgram(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object given = info[0].As<Napi::Object>();
  ProgramOptions options;
  options.objectPath = given.Get("objectPath").ToString();
  options.interfaceIndex = numberAt(given, "interfaceIndex");
  options.mode = numberAt(given, "mode");
  options.attachMode = attachModeFrom(given.Get("attachMode").ToString());
  Failure failure;
  options.pinDirectory = given.Get("pinDirectory").ToString();
  std::shared_ptr<Program> program;
  if (info[1].IsNull()) {
    program = Program::attach(options, &failure);
  } else {
    const Napi::Int32Array descriptors = info[1].As<Napi::Int32Array>();
    const int* first = descriptors.Data();
    program = Program::adopt(options, {first, first + descriptors.ElementLength()}, &failure);
  }
  if (program == nullptr) return throwFailure(env, failure);
  Napi::Object result = Napi::Object::New(env);
  result.Set("native", program->isNative());
  result.Set("attachReason", program->attachReason());
  result.Set("takenOver", program->isTakenOver());
  result.Set("pinned", program->isPinned());
  result.Set("pinReason", program->pinReason());
  result.Set("natPorts", makeBuffer(env, program->natPorts(), program->natPortsBytes(), program));
  result.Set("handle", makeHandle(env, program));
  return result;
}

// Arguments: handle, queue, socket handle or null.
Napi::Value programSetSocket(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = fromHandle<Program>(info[0]);
  if (program == nullptr) return info.Env().Undefined();
  int fd = -1;
  if (!info[2].IsNull()) {
    const std::shared_ptr<Socket> socket = fromHandle<Socket>(info[2]);
    if (socket == nullptr) return info.Env().Undefined();
    fd = socket->fd();
  }
  Failure failure;
  if (program->setSocket(info[1].ToNumber().Uint32Value(), fd, &failure)) {
    return info.Env().Undefined();
  }
  return throwFailure(info.Env(), failure);
}

// Arguments: handle, map name, key bytes, whether the key shall be there.
Napi::Value programEdit(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = fromHandle<Program>(info[0]);
  if (program == nullptr) return info.Env().Undefined();
  const std::string map = info[1].ToString();
  const Napi::Uint8Array key = info[2].As<Napi::Uint8Array>();
  Failure failure;
  if (program->edit(map.c_str(), key.Data(), key.ByteLength(), info[3].ToBoolean(), &failure)) {
    return info.Env().Undefined();
  }
  return throwFailure(info.Env(), failure);
}

// Fills a Float64Array of 64 queues by 3 verdicts.
Napi::Value programCounters(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = fromHandle<Program>(info[0]);
  if (program == nullptr) return info.Env().Undefined();
  Napi::Float64Array counts = info[1].As<Napi::Float64Array>();
  Failure failure;
  if (counts.ElementLength() < kQueuesMax * kVerdictsCounted) {
    failure.set("counters", EINVAL);
    return throwFailure(info.Env(), failure);
  }
  if (program->readCounters(counts.Data(), &failure)) return info.Env().Undefined();
  return throwFailure(info.Env(), failure);
}

// Arguments: handle, the natPorts buffer, which must not reach the mapping once it is gone, and
// whether a pinned program stays on its device.
Napi::Value detachProgram(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Program> program = fromHandle<Program>(info[0]);
  if (program == nullptr) return info.Env().Undefined();
  if (info[2].ToBoolean()) {
    program->release();
  } else {
    program->detach();
  }
  info[1].As<Napi::ArrayBuffer>().Detach();
  program->unmap();
  return info.Env().Undefined();
}

}  // namespace

void exportProgram(Napi::Env env, Napi::Object exports) {
  exports.Set("attachProgram", Napi::Function::New<attachProgram>(env));
  exports.Set("programSetSocket", Napi::Function::New<programSetSocket>(env));
  exports.Set("programEdit", Napi::Function::New<programEdit>(env));
  exports.Set("programCounters", Napi::Function::New<programCounters>(env));
  exports.Set("detachProgram", Napi::Function::New<detachProgram>(env));
}

}  // namespace xdp
