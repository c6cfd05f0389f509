// What went wrong in the operating system, carried as a value: the add-on is built without
// exceptions.
#pragma once

#include <cerrno>
#include <string>
#include <utility>

namespace xdp {

struct Failure {
  const char* call = "";  // the system call or library function that failed
  int number = 0;         // its errno
  std::string detail;     // what it was asked to do, or what the kernel's verifier said

  // Returns false, so that a function can say `return failure->set("bind", errno)`.
  bool set(const char* failedCall, int errorNumber, std::string text = {}) {
    call = failedCall;
    number = errorNumber;
    detail = std::move(text);
    return false;
  }
};

}  // namespace xdp
