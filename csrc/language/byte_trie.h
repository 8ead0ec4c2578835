// Texts as a tree of their bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace sparrot {

// A node is what some of the texts begin with; the root is empty. Nodes are numbered by their depth,
// and the children of a node follow each other. Immutable.
class ByteTrie {
 public:
  using Node = std::uint32_t;
  using Text = std::uint32_t;
  static constexpr Node kRoot = 0;
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  // Texts are numbered as they are listed; of equal ones the first counts.
  explicit ByteTrie(const std::vector<std::string>& texts);

  std::size_t size() const { return bytes_.size(); }

  // kNone where no text goes on so.
  Node Child(Node node, char byte) const;

  // Children of a node are from `FirstChild(node)` to before `FirstChild(node + 1)`.
  Node FirstChild(Node node) const { return first_children_[node]; }

  // The last byte of a node; 0 of the root.
  char Byte(Node node) const { return bytes_[node]; }

  // The text that ends at a node, or kNone.
  Text TextAt(Node node) const { return texts_[node]; }

  // The node of a whole text, kNone if no text begins with it.
  Node Find(const std::string& text) const;

 private:
  std::vector<char> bytes_;
  std::vector<Text> texts_;
  std::vector<Node> first_children_;  // one more than there are nodes
};

}  // namespace sparrot
