// From encoder frames to tokens: what all transducer searches do alike, and how they step together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "decoder/hypothesis.h"
#include "decoder/predictor_cache.h"
#include "decoder/rows.h"
#include "decoder/transducer.h"

namespace sparrot {

// Takes a segment in pieces, one output frame after the other: it decodes alike however it is cut.
// A hypothesis has one predictor state, computed at the level of the frame at which its last token
// was tried. One thread at a time.
class TransducerSearch {
 public:
  virtual ~TransducerSearch() = default;

  // Goes on by encoder frames [n][sizes.encoder] computed at one level. The penalty is subtracted
  // from the log-probability of the blank.
  //
  // Throws std::invalid_argument, with a sentence, if frames have another width or the penalty is
  // not finite, before the first frame; if the joint network's output is not finite, at that frame.
  void Accept(const Rows<const float>& frames, Level level, double blank_penalty);

  // Starts a new segment at output frame 0.
  void Reset();

  std::int64_t n_frames() const { return n_frames_; }

  // Frames at the end at which the best hypothesis emits nothing.
  virtual std::int64_t trailing_blanks() const = 0;

  // Tokens of the best hypothesis, and how many of them later frames cannot change.
  virtual std::size_t n_tokens() const = 0;
  virtual std::size_t n_stable() const = 0;

  // The most probable first; there is always one.
  virtual std::vector<Hypothesis> Hypotheses() const = 0;
  virtual Hypothesis Best() const = 0;

  // The same if the segment ends here.
  virtual std::vector<Hypothesis> Finals() const = 0;

  virtual Storage storage() const = 0;

  // Contexts of the segment that the predictor was asked for.
  std::int64_t n_predicted() const { return predictor_.n_predicted(); }

 protected:
  // One output frame, seen by every hypothesis of the search: a row of log-probabilities each.
  struct Frame {
    std::int64_t number;
    Level level;
    Rows<const double> log_probs;

    double operator()(std::size_t row, std::int32_t token) const {
      return log_probs[row][static_cast<std::size_t>(token)];
    }
    TokenHit Hit(std::size_t row, std::int32_t token) const {
      return {token, level, number, (*this)(row, token)};
    }
  };

  // n_idle: predictor states remembered that no hypothesis needs.
  TransducerSearch(std::shared_ptr<const TransducerModel> model, std::size_t n_idle)
      : model_(std::move(model)), predictor_(model_, n_idle) {}

  PredictorCache& predictor() { return predictor_; }
  const PredictorCache& predictor() const { return predictor_; }
  std::size_t vocabulary() const { return model_->sizes().n_tokens; }

 private:
  friend class TransducerBatch;

  // Makes the empty hypothesis of what the predictor says before the first token, which it holds.
  virtual void Begin(PredictorCache::Entry start) = 0;

  // Forgets all hypotheses.
  virtual void Restart() = 0;

  // The predictor entries of the hypotheses that are joined with the frame at hand.
  virtual void ListRows(std::vector<PredictorCache::Entry>& entries) const = 0;

  // Goes on by a frame, asks the predictor for what it needs next; whether it has done with it.
  virtual bool Step(const Frame& frame) = 0;

  std::shared_ptr<const TransducerModel> model_;
  PredictorCache predictor_;
  bool has_begun_ = false;
  std::int64_t n_frames_ = 0;
};

// Frames [n][sizes.encoder] for a search, computed at one level.
struct TransducerPiece {
  TransducerSearch* search;
  Rows<const float> frames;
  Level level;
  double blank_penalty;
};

// Goes on by a piece for each of several searches of one model. They step together, so that weights
// are read once for all; each decodes as it does alone, but for the rounding of products.
//
// What is wrong with a piece is said in its place, and the others go on. Throws
// std::invalid_argument, with a sentence and before the first frame, if a piece cannot be begun, if
// models differ, or if a search is named twice.
std::vector<std::optional<std::string>> AcceptTogether(std::span<const TransducerPiece> pieces);

}  // namespace sparrot
