#include "layout/buffer.h"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparrot {

Buffer::Buffer(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
  const std::size_t rounded = (bytes + alignment) / alignment * alignment;  // at least one byte
  bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, rounded)));
  if (bytes_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == kHugePage) madvise(bytes_.get(), rounded, MADV_HUGEPAGE);  // a wish
#endif
  std::memset(bytes_.get(), 0, rounded);
}

void Buffer::Free::operator()(std::byte* bytes) const { std::free(bytes); }

}  // namespace sparrot
