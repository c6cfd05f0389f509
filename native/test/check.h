// The smallest test harness that says which rule broke: `TEST("rule") { CHECK(condition); }`.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace check {

struct Case {
  const char* name;
  std::function<void()> run;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int failures = 0;

struct Register {
  Register(const char* name, std::function<void()> run) {
    cases().push_back({name, std::move(run)});
  }
};

inline void report(bool holds, const char* condition, const char* file, int line) {
  if (holds) return;
  failures++;
  std::printf("  %s:%d: %s\n", file, line, condition);
}

// Runs every case and returns the process's exit code.
inline int runAll() {
  int failedCases = 0;
  for (const Case& one : cases()) {
    const int before = failures;
    one.run();
    const bool passed = failures == before;
    std::printf("%s - %s\n", passed ? "ok" : "not ok", one.name);
    failedCases += passed ? 0 : 1;
  }
  std::printf("%zu tests, %d failed\n", cases().size(), failedCases);
  return failedCases == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK_JOIN_(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN_(a, b)
#define CHECK(condition) check::report((condition), #condition, __FILE__, __LINE__)
#define TEST(name)                                                                             \
  static void CHECK_JOIN(test_, __LINE__)();                                                   \
  static const check::Register CHECK_JOIN(register_, __LINE__)(name, CHECK_JOIN(test_, __LINE__)); \
  static void CHECK_JOIN(test_, __LINE__)()
