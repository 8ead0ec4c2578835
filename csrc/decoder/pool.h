// Items that come and go with every frame, in one block of memory: a place given up is used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sparrot {

template <typename T>
class Pool {
 public:
  using Id = std::uint32_t;

  Id Add(const T& item) {
    if (free_.empty()) {
      items_.push_back(item);
      return static_cast<Id>(items_.size() - 1);
    }
    const Id id = free_.back();
    free_.pop_back();
    items_[id] = item;
    return id;
  }

  void Remove(Id id) { free_.push_back(id); }

  T& operator[](Id id) { return items_[id]; }
  const T& operator[](Id id) const { return items_[id]; }

  // Items that are there now.
  std::size_t size() const { return items_.size() - free_.size(); }

  std::size_t bytes() const {
    return items_.capacity() * sizeof(T) + free_.capacity() * sizeof(Id);
  }

  // Removes all, and gives their memory back.
  void Clear() {
    items_ = std::vector<T>();
    free_ = std::vector<Id>();
  }

 private:
  std::vector<T> items_;
  std::vector<Id> free_;
};

}  // namespace sparrot
