#include "decoder/transducer_greedy.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparrot {
namespace {

constexpr std::size_t kIdle = 0;  // what is said is not taken back, so no state is needed again

std::int64_t Checked(std::int64_t max_symbols) {
  if (max_symbols < 1) {
    throw std::invalid_argument("a frame may emit at least 1 token; got max_symbols of " +
                                std::to_string(max_symbols));
  }
  return max_symbols;
}

}  // namespace

TransducerGreedy::TransducerGreedy(std::shared_ptr<const TransducerModel> model,
                                   std::int64_t max_symbols)
    : TransducerSearch(std::move(model), kIdle), max_symbols_(Checked(max_symbols)) {}

std::int64_t TransducerGreedy::trailing_blanks() const {
  return best_.tokens.empty() ? n_frames() : n_frames() - 1 - best_.tokens.back().frame;
}

void TransducerGreedy::Restart() {
  best_ = {{}, 0.0};
  n_symbols_ = 0;
}

bool TransducerGreedy::Step(const Frame& frame) {
  const auto row = frame.log_probs[0];
  const auto token =
      static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
  best_.log_prob += frame(0, token);
  if (token != kBlank) {
    best_.tokens.push_back(frame.Hit(0, token));
    const PredictorCache::Entry before = predicted_;
    predicted_ = predictor().Hold(frame.level, {before, token});
    predictor().Release(before);
    if (++n_symbols_ < max_symbols_) return false;
  }
  n_symbols_ = 0;
  return true;
}

}  // namespace sparrot
