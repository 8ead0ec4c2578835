// A network that looks back only, one frame at a time, for searches that keep many states.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decoder/hypothesis.h"
#include "decoder/rows.h"
#include "network/network.h"

namespace sparrot {

// What the network remembers is a row of floats: what each layer does, one after the other, which are the
// inputs that a window looks back to, h and c of a recurrent layer, padded. All zeros is the beginning.
//
// A level is a number of segments, less one. Rows of several levels are one batch, sorted as streams are. With
// int8 weights a row has the same bits in every batch; with others it has them as long as there are fewer than
// 16 rows, and is within rounding otherwise. Any number of threads may use it at once.
class NetworkSteps {
 public:
  // Throws std::invalid_argument, with a sentence, unless it takes one value a frame and no later frames.
  explicit NetworkSteps(std::shared_ptr<const Network> network);

  const Network& network() const { return *network_; }
  std::size_t state_width() const { return state_width_; }

  // The frame after each of n states, of one index each.
  //   levels, indices [n]; states, next_states [n][state_width]; outputs [n][network().n_tokens()]
  void Run(std::span<const Level> levels, std::span<const std::int32_t> indices, const Rows<const float>& states,
           const Rows<float>& next_states, const Rows<float>& outputs) const;

 private:
  std::shared_ptr<const Network> network_;
  std::size_t state_width_ = 0;
  mutable Workspaces workspaces_;
};

}  // namespace sparrot
