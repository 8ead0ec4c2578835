// What the predictor of a transducer makes of the hypotheses of one search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "decoder/transducer.h"

namespace sparrot {

// Holds a state and an output for each hypothesis, and remembers some that no hypothesis needs any
// more: a token that is given up at one frame is often tried again at the next.
//
// An entry is known by its context, the entry before and the token after it, and by the level that
// computed it: a switch of level computes nothing again, and takes nothing old for new.
class PredictorCache {
 public:
  using Entry = std::uint32_t;

  // One more token after the context of an entry.
  struct Context {
    Entry before;
    std::int32_t token;
  };

  // n_idle: entries remembered that nobody holds.
  PredictorCache(std::shared_ptr<const TransducerModel> model, std::size_t n_idle);

  // The entry before the first token; the caller holds it.
  Entry Start(Level level);

  // The entry of a context; the caller holds it. If it is new it is pending until `Predict`.
  Entry Hold(Level level, const Context& context);

  // `entry` once more; the caller holds it.
  Entry Hold(Entry entry);

  void Release(Entry entry);

  // Of an entry that is not pending.
  std::span<const float> Output(Entry entry) const { return outputs_.Row(entry); }

  // Computes what is pending in caches of one model, in one call of it.
  static void Predict(std::span<PredictorCache* const> caches);

  // Contexts that the model was asked for.
  std::int64_t n_predicted() const { return n_predicted_; }

  std::size_t bytes() const;

  // Forgets all, and gives the memory back.
  void Clear();

 private:
  struct Slot {
    std::uint64_t serial;  // never given twice; 0 for a free slot
    std::uint64_t before;  // serial of the context; 0 before the first token
    std::int32_t token;
    Level level;
    std::uint32_t n_users;
    std::uint64_t idle_since;
  };

  // An entry to be computed; both are held until then.
  struct Pending {
    Entry entry;
    Entry before;
  };

  // As many rows as there are slots.
  struct Table {
    std::size_t width;
    std::vector<float> values;

    std::span<float> Row(Entry entry) { return {values.data() + entry * width, width}; }
    std::span<const float> Row(Entry entry) const { return {values.data() + entry * width, width}; }
  };

  static constexpr Entry kNone = 0xFFFFFFFF;

  Entry Find(std::uint64_t before, std::int32_t token, Level level) const;
  Entry NewSlot(std::uint64_t before, std::int32_t token, Level level);
  void Settle();
  void ForgetOldest();

  std::shared_ptr<const TransducerModel> model_;
  std::size_t n_idle_;
  std::vector<Slot> slots_;
  Table states_, outputs_;
  std::vector<Pending> pending_;
  std::uint64_t clock_ = 0;  // counts entries made and given up
  std::int64_t n_predicted_ = 0;
};

}  // namespace sparrot
