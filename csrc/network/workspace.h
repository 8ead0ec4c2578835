// Scratch memory of one computation.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace sparrot {

inline constexpr std::size_t kAlignment = 64;

constexpr std::size_t RoundUp(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// An array that is aligned to 64 bytes and only ever grows. What it holds is undefined after `Get`.
class Scratch {
 public:
  template <class T>
  T* Get(std::size_t n) {
    const std::size_t bytes = RoundUp(n * sizeof(T) + 1, kAlignment);
    if (bytes > bytes_) {
      memory_.reset();  // before the next one is there: at most one of them at a time
      bytes_ = 0;
      memory_.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kAlignment})));
      bytes_ = bytes;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const {
      ::operator delete(memory, std::align_val_t{kAlignment});
    }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};

// The scratch of one caller. Each name belongs to the function that its comment names.
struct Workspace {
  Scratch rows[2];        // Network, NetworkTransducer: what enters a layer and what leaves it, turn about
  Scratch drives;         // Recurrent, SharedRnn: input products of all frames
  Scratch products;       // Recurrent, SharedRnn: recurrent products of a frame
  Scratch cells, hidden;  // Recurrent, SharedRnn: states of all streams
  Scratch projected;      // Recurrent: hidden states before their projection
  Scratch turned;         // Recurrent: states of all streams in rows
  Scratch context;        // Convolution: the frames around an output
  Scratch unfolded;       // Convolution: inputs of every output, side by side
  Scratch convolved;      // Convolution: outputs, channels last
  Scratch packed;         // products: inputs in the kernels' form
  Scratch sums;           // products: int32 sums
  Scratch scales;         // products: of int8 inputs, and their inverses
  Scratch wide, back;     // products: of rows in wide form, and back again
  Scratch gathered, few;  // products: inputs and sums of the few streams of the densest levels
};

// Workspaces that many threads take turns with; there are as many as were ever used at once.
class Workspaces {
 public:
  // A workspace that no other thread uses for as long as it is held.
  class Lease {
   public:
    explicit Lease(Workspaces& owner) : owner_(owner) {
      const std::lock_guard lock(owner_.mutex_);
      if (owner_.idle_.empty()) {
        workspace_ = std::make_unique<Workspace>();
      } else {
        workspace_ = std::move(owner_.idle_.back());
        owner_.idle_.pop_back();
      }
    }
    ~Lease() {
      const std::lock_guard lock(owner_.mutex_);
      owner_.idle_.push_back(std::move(workspace_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    Workspace& operator*() const { return *workspace_; }

   private:
    Workspaces& owner_;
    std::unique_ptr<Workspace> workspace_;
  };

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace sparrot
