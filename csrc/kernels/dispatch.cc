#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/tables.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace sparrot {
namespace {

#if defined(__aarch64__)
bool HasDotProducts() {
#if defined(__linux__)
  constexpr unsigned long kDotProducts = 1UL << 20;  // HWCAP_ASIMDDP
  return (getauxval(AT_HWCAP) & kDotProducts) != 0;
#else
  return true;  // every processor of Apple that has 64-bit ARM programs for computers
#endif
}
#endif

std::vector<const Kernels*> Found() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  const bool has_avx512 = __builtin_cpu_supports("x86-64-v4");
  if (has_avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
      __builtin_cpu_supports("avx512vbmi")) {
    found.push_back(&kAvx512VnniKernels);
  }
  if (has_avx512) found.push_back(&kAvx512Kernels);
  if (__builtin_cpu_supports("x86-64-v3")) found.push_back(&kAvx2Kernels);
#elif defined(__aarch64__)
  if (HasDotProducts()) found.push_back(&kNeonDotKernels);
  found.push_back(&kNeonKernels);
#endif
  found.push_back(&kScalarKernels);
  return found;
}

const Kernels& Chosen() {
  const char* wanted = std::getenv("SPARROT_ISA");
  const auto available = AvailableKernels();
  if (wanted == nullptr || *wanted == '\0') return *available.front();
  return NamedKernels(wanted);
}

}  // namespace

std::span<const Kernels* const> AvailableKernels() {
  static const std::vector<const Kernels*> found = Found();
  return found;
}

const Kernels& NamedKernels(std::string_view name) {
  std::string names;
  for (const Kernels* kernels : AvailableKernels()) {
    if (kernels->name == name) return *kernels;
    names += (names.empty() ? "" : ", ") + std::string(kernels->name);
  }
  throw std::invalid_argument("there are no kernels `" + std::string(name) +
                              "` for this processor: choose among " + names);
}

const Kernels& ChosenKernels() {
  static const Kernels& chosen = Chosen();
  return chosen;
}

}  // namespace sparrot
