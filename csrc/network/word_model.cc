#include "network/word_model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <stdexcept>
#include <utility>

namespace sparrot {
namespace {

// What the network remembers after a context, and what it expects there. A context that no other names twice
// is computed once; all that are new at a frame are one batch.
class NetworkWordScorer final : public LanguageScorer {
 public:
  explicit NetworkWordScorer(const NetworkWordModel& model) : model_(model), nothing_(model.steps().state_width()) {}

  Context Start() override {
    slots_.clear();
    return Computed({{nothing_.data(), model_.end()}}).front();
  }

  void Advance(std::span<Continuation> continuations) override {
    std::map<std::pair<Context, Word>, std::size_t> places;
    std::vector<Step> steps;
    for (const Continuation& each : continuations) {
      if (each.word == kNothing) continue;
      if (places.try_emplace({each.context, each.word}, steps.size()).second) {
        steps.push_back(After(each));
      }
    }
    const std::vector<Context> made = Computed(steps);
    for (Continuation& each : continuations) {
      if (each.word != kNothing) each.context = made[places.at({each.context, each.word})];
    }
    ForgetOthers(continuations);
  }

  double LogProb(const Continuation& asked) const override {
    return asked.word == kNothing ? 0.0 : slots_[asked.context].LogProb(model_.IndexOf(asked.word));
  }

  double LogProbToEnd(const Continuation& asked) const override {
    if (asked.word == kNothing) return slots_[asked.context].LogProb(model_.end());
    Slot after;
    Compute({After(asked)}, {&after});
    return LogProb(asked) + after.LogProb(model_.end());
  }

 private:
  // A state, and the word after it.
  struct Step {
    const float* state;
    std::int32_t index;
  };

  // What is known of a context. ln p(w) = logits[w] − normaliser
  struct Slot {
    bool is_used = false;
    std::vector<float> state, logits;
    double normaliser = 0.0;

    double LogProb(std::int32_t index) const {
      if (index == NetworkWordModel::kNoIndex) return NetworkWordModel::kNeverSeen;
      return static_cast<double>(logits[static_cast<std::size_t>(index)]) - normaliser;
    }
  };

  Step After(const Continuation& each) const {
    const std::int32_t index = model_.IndexOf(each.word);
    if (index == NetworkWordModel::kNoIndex) return {nothing_.data(), model_.end()};
    return {slots_[each.context].state.data(), index};
  }

  // The slots of new contexts. Those of their states stay where they are until all are computed.
  std::vector<Context> Computed(const std::vector<Step>& steps) {
    std::vector<Slot> made(steps.size());
    std::vector<Slot*> to;
    for (Slot& slot : made) to.push_back(&slot);
    Compute(steps, to);
    std::vector<Context> contexts;
    for (Slot& slot : made) contexts.push_back(Placed(std::move(slot)));
    return contexts;
  }

  Context Placed(Slot slot) {
    slot.is_used = true;
    const auto free = std::find_if(slots_.begin(), slots_.end(), [](const Slot& each) { return !each.is_used; });
    const auto context = static_cast<Context>(free - slots_.begin());
    if (free == slots_.end()) {
      slots_.push_back(std::move(slot));
    } else {
      *free = std::move(slot);
    }
    return context;
  }

  void Compute(const std::vector<Step>& steps, const std::vector<Slot*>& to) const {
    const std::size_t n = steps.size(), width = model_.steps().state_width();
    const std::size_t n_words = model_.steps().network().n_tokens();
    if (n == 0) return;
    const std::vector<Level> levels(n, model_.level());
    std::vector<std::int32_t> indices;
    std::vector<float> states, next_states(n * width), logits(n * n_words);
    for (const Step& step : steps) {
      indices.push_back(step.index);
      states.insert(states.end(), step.state, step.state + width);
    }
    const Rows<float> to_states{next_states.data(), n, width}, to_logits{logits.data(), n, n_words};
    model_.steps().Run(levels, indices, {states.data(), n, width}, to_states, to_logits);
    for (std::size_t row = 0; row < n; ++row) {
      to[row]->state.assign(to_states[row].begin(), to_states[row].end());
      to[row]->logits.assign(to_logits[row].begin(), to_logits[row].end());
      to[row]->normaliser = Normaliser(to_logits[row]);
    }
  }

  // ln Σ exp(logit), in double.
  static double Normaliser(std::span<const float> logits) {
    const auto most = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
    return most + std::log(sum);
  }

  void ForgetOthers(std::span<const Continuation> kept) {
    for (Slot& slot : slots_) slot.is_used = false;
    for (const Continuation& each : kept) slots_[each.context].is_used = true;
  }

  const NetworkWordModel& model_;
  std::vector<float> nothing_;  // the state before the first word
  std::vector<Slot> slots_;
};

}  // namespace

NetworkWordModel::NetworkWordModel(Vocabulary vocabulary, std::vector<std::int32_t> indices,
                                   std::shared_ptr<const Network> network, Level level)
    : LanguageModel(std::move(vocabulary)), indices_(std::move(indices)), steps_(std::move(network)), level_(level) {
  const auto n_tokens = static_cast<std::int32_t>(steps_.network().n_tokens());
  bool fits = indices_.size() == this->vocabulary().size();
  for (Word word = 0; fits && word < indices_.size(); ++word) {
    const bool may_lack = word == this->vocabulary().unknown();
    fits = indices_[word] < n_tokens && indices_[word] >= (may_lack ? kNoIndex : 0);
  }
  if (!fits) throw std::invalid_argument("the words of a language model are not those of its network");
}

std::unique_ptr<LanguageScorer> NetworkWordModel::NewScorer() const {
  return std::make_unique<NetworkWordScorer>(*this);
}

}  // namespace sparrot
