// Helpers of the Node-API layer: handles to shared objects, and a Failure as a JavaScript error.
// lib/binding.ts is the only caller and has checked types and ranges; a wrong handle is still
// refused.
#pragma once

// -Wextra finds unused parameters in the header itself.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <napi.h>
#pragma GCC diagnostic pop

#include <memory>
#include <string>
#include <utility>

#include "failure.h"

namespace xdp {

class Umem;
class Socket;
class Poller;
class Program;
class Mapping;

template <typename T>
struct Kind;
template <>
struct Kind<Umem> {
  static constexpr napi_type_tag tag = {0x7864702d756d656dULL, 1};
};
template <>
struct Kind<Socket> {
  static constexpr napi_type_tag tag = {0x7864702d736f636bULL, 1};
};
template <>
struct Kind<Poller> {
  static constexpr napi_type_tag tag = {0x7864702d706f6c6cULL, 1};
};
template <>
struct Kind<Program> {
  static constexpr napi_type_tag tag = {0x7864702d70726f67ULL, 1};
};

template <>
struct Kind<Mapping> {
  static constexpr napi_type_tag tag = {0x7864702d6d617070ULL, 1};
};

template <typename T>
Napi::Value makeHandle(Napi::Env env, std::shared_ptr<T> object) {
  auto* holder = new std::shared_ptr<T>(std::move(object));
  Napi::Object handle = Napi::Object::New(env);
  napi_type_tag_object(env, handle, &Kind<T>::tag);
  napi_wrap(
      env, handle, holder,
      [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<T>*>(data); }, nullptr,
      nullptr);
  return handle;
}

// Null, with a JavaScript exception pending, when the value is no handle of this kind.
template <typename T>
std::shared_ptr<T> fromHandle(Napi::Value value) {
  bool matches = false;
  void* holder = nullptr;
  const Napi::Env env = value.Env();
  if (value.IsObject() &&
      napi_check_object_type_tag(env, value, &Kind<T>::tag, &matches) == napi_ok && matches &&
      napi_unwrap(env, value, &holder) == napi_ok) {
    return *static_cast<std::shared_ptr<T>*>(holder);
  }
  Napi::TypeError::New(env, "not a handle of this kind").ThrowAsJavaScriptException();
  return nullptr;
}

Napi::Value throwFailure(Napi::Env env, const Failure& failure);

// Memory that JavaScript sees; `owner` lives at least as long as the buffer.
template <typename T>
Napi::ArrayBuffer makeBuffer(Napi::Env env, void* data, size_t bytes, std::shared_ptr<T> owner) {
  auto* keeper = new std::shared_ptr<T>(std::move(owner));
  return Napi::ArrayBuffer::New(
      env, data, bytes, [](Napi::Env, void*, std::shared_ptr<T>* hint) { delete hint; }, keeper);
}

inline uint32_t numberAt(const Napi::Object& object, const char* key) {
  return object.Get(key).ToNumber().Uint32Value();
}

void exportHandover(Napi::Env env, Napi::Object exports);
void exportNetlink(Napi::Env env, Napi::Object exports);
void exportPackets(Napi::Env env, Napi::Object exports);
void exportProgram(Napi::Env env, Napi::Object exports);
void exportSystem(Napi::Env env, Napi::Object exports);

}  // namespace xdp
