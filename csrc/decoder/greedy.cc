#include "decoder/greedy.h"

#include <algorithm>

namespace sparrot {

void GreedyDecoder::Step(const Frame& frame) {
  const double log_prob = frame[frame.best];
  if (frame.best != kBlank) {
    if (frame.best != last_) {
      best_.tokens.push_back(frame.Hit(frame.best));
    } else {
      double& of_run = best_.tokens.back().log_prob;
      of_run = std::max(of_run, log_prob);
    }
  }
  last_ = frame.best;
  best_.log_prob += log_prob;
}

void GreedyDecoder::Restart() {
  best_ = {{}, 0.0};
  last_ = kBlank;
}

}  // namespace sparrot
