#include "decoder/predictor_cache.h"

#include <algorithm>
#include <utility>

namespace sparrot {

PredictorCache::PredictorCache(std::shared_ptr<const TransducerModel> model, std::size_t n_idle)
    : model_(std::move(model)),
      sizes_(model_->sizes()),
      n_idle_(n_idle),
      states_{sizes_.state, {}},
      outputs_{sizes_.output, {}} {}

PredictorCache::Entry PredictorCache::Start(Level level) {
  const Entry entry = NewSlot(0, kBlank, level);
  model_->Start(level, states_.Row(entry), outputs_.Row(entry));
  return entry;
}

void PredictorCache::Advance(Level level, std::span<const Context> contexts,
                             std::vector<Entry>& entries) {
  entries.clear();
  std::vector<Entry> fresh;
  std::vector<Context> unknown;
  for (const Context& context : contexts) {
    const std::uint64_t before = slots_[context.before].serial;
    Entry entry = Find(before, context.token, level);
    if (entry != kNone) {
      Hold(entry);
    } else {
      entry = NewSlot(before, context.token, level);
      fresh.push_back(entry);
      unknown.push_back(context);
    }
    entries.push_back(entry);
  }
  if (!fresh.empty()) Predict(level, fresh, unknown);
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

std::size_t PredictorCache::bytes() const {
  const std::size_t n_floats = states_.values.capacity() + outputs_.values.capacity();
  return slots_.capacity() * sizeof(Slot) + n_floats * sizeof(float);
}

void PredictorCache::Clear() {
  slots_ = std::vector<Slot>();
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

void PredictorCache::Predict(Level level, std::span<const Entry> fresh,
                             std::span<const Context> contexts) {
  const std::size_t n = fresh.size();
  std::vector<std::int32_t> tokens;
  std::vector<float> states;
  for (std::size_t i = 0; i < n; ++i) {
    tokens.push_back(contexts[i].token);
    const std::span<const float> state = states_.Row(contexts[i].before);
    states.insert(states.end(), state.begin(), state.end());
  }
  std::vector<float> next_states(n * sizes_.state);
  std::vector<float> outputs(n * sizes_.output);
  const Rows<float> to_states{next_states.data(), n, sizes_.state};
  const Rows<float> to_outputs{outputs.data(), n, sizes_.output};
  model_->Predict(level, tokens, {states.data(), n, sizes_.state}, to_states, to_outputs);
  for (std::size_t i = 0; i < n; ++i) {
    std::ranges::copy(to_states[i], states_.Row(fresh[i]).begin());
    std::ranges::copy(to_outputs[i], outputs_.Row(fresh[i]).begin());
  }
  n_predicted_ += static_cast<std::int64_t>(n);
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
