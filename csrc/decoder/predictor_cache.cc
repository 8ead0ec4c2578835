#include "decoder/predictor_cache.h"

#include <algorithm>
#include <utility>

namespace sparrot {

PredictorCache::PredictorCache(std::shared_ptr<const TransducerModel> model, std::size_t n_idle)
    : model_(std::move(model)),
      n_idle_(n_idle),
      states_{model_->sizes().state, {}},
      outputs_{model_->sizes().output, {}} {}

PredictorCache::Entry PredictorCache::Start(Level level) {
  const Entry entry = NewSlot(0, kBlank, level);
  model_->Start(level, states_.Row(entry), outputs_.Row(entry));
  return entry;
}

PredictorCache::Entry PredictorCache::Hold(Level level, const Context& context) {
  const std::uint64_t before = slots_[context.before].serial;
  const Entry found = Find(before, context.token, level);
  if (found != kNone) return Hold(found);
  const Entry entry = NewSlot(before, context.token, level);
  pending_.push_back({Hold(entry), Hold(context.before)});
  return entry;
}

PredictorCache::Entry PredictorCache::Hold(Entry entry) {
  ++slots_[entry].n_users;
  return entry;
}

void PredictorCache::Release(Entry entry) {
  Slot& slot = slots_[entry];
  if (--slot.n_users > 0) return;
  slot.idle_since = ++clock_;
  const auto is_idle = [](const Slot& each) { return each.serial != 0 && each.n_users == 0; };
  const auto n_idle =
      static_cast<std::size_t>(std::count_if(slots_.begin(), slots_.end(), is_idle));
  if (n_idle > n_idle_) ForgetOldest();
}

void PredictorCache::Predict(std::span<PredictorCache* const> caches) {
  std::vector<Level> levels;
  std::vector<std::int32_t> tokens;
  std::vector<float> states;
  for (const PredictorCache* const cache : caches) {
    for (const Pending& each : cache->pending_) {
      levels.push_back(cache->slots_[each.entry].level);
      tokens.push_back(cache->slots_[each.entry].token);
      const std::span<const float> state = cache->states_.Row(each.before);
      states.insert(states.end(), state.begin(), state.end());
    }
  }
  const std::size_t n = tokens.size();
  if (n == 0) return;
  const TransducerModel& model = *caches.front()->model_;
  const TransducerModel::Sizes sizes = model.sizes();
  std::vector<float> next_states(n * sizes.state), outputs(n * sizes.output);
  const Rows<float> to_states{next_states.data(), n, sizes.state};
  const Rows<float> to_outputs{outputs.data(), n, sizes.output};
  model.Predict(levels, tokens, {states.data(), n, sizes.state}, to_states, to_outputs);
  std::size_t row = 0;
  for (PredictorCache* const cache : caches) {
    for (const Pending& each : cache->pending_) {
      std::ranges::copy(to_states[row], cache->states_.Row(each.entry).begin());
      std::ranges::copy(to_outputs[row], cache->outputs_.Row(each.entry).begin());
      ++row;
    }
    cache->Settle();
  }
}

std::size_t PredictorCache::bytes() const {
  const std::size_t n_floats = states_.values.capacity() + outputs_.values.capacity();
  return slots_.capacity() * sizeof(Slot) + pending_.capacity() * sizeof(Pending) +
         n_floats * sizeof(float);
}

void PredictorCache::Clear() {
  slots_ = std::vector<Slot>();
  pending_ = std::vector<Pending>();
  states_.values = std::vector<float>();
  outputs_.values = std::vector<float>();
  clock_ = 0;
  n_predicted_ = 0;
}

PredictorCache::Entry PredictorCache::Find(std::uint64_t before, std::int32_t token,
                                           Level level) const {
  const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    return slot.serial != 0 && slot.before == before && slot.token == token && slot.level == level;
  });
  return found == slots_.end() ? kNone : static_cast<Entry>(found - slots_.begin());
}

PredictorCache::Entry PredictorCache::NewSlot(std::uint64_t before, std::int32_t token,
                                              Level level) {
  const Slot made{++clock_, before, token, level, 1, 0};
  const auto free =
      std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.serial == 0; });
  const auto entry = static_cast<Entry>(free - slots_.begin());
  if (free != slots_.end()) {
    *free = made;
    return entry;
  }
  slots_.push_back(made);
  states_.values.resize(slots_.size() * states_.width);
  outputs_.values.resize(slots_.size() * outputs_.width);
  return entry;
}

// Lets go of what was pending.
void PredictorCache::Settle() {
  n_predicted_ += static_cast<std::int64_t>(pending_.size());
  for (const Pending& each : pending_) {
    Release(each.before);
    Release(each.entry);
  }
  pending_.clear();
}

void PredictorCache::ForgetOldest() {
  Slot* oldest = nullptr;
  for (Slot& slot : slots_) {
    const bool is_idle = slot.serial != 0 && slot.n_users == 0;
    if (is_idle && (oldest == nullptr || slot.idle_since < oldest->idle_since)) oldest = &slot;
  }
  oldest->serial = 0;
}

}  // namespace sparrot
