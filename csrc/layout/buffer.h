// Memory for weights, inputs and sums.
#pragma once

#include <cstddef>
#include <memory>

namespace sparrot {

// Zeros that begin at a multiple of 64 bytes; a large one lies in pages of 2 MiB where the system has them,
// which saves most of the misses in the table of pages.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes);

  template <typename T>
  T* As() const {
    return reinterpret_cast<T*>(bytes_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  std::unique_ptr<std::byte[], Free> bytes_;
};

}  // namespace sparrot
