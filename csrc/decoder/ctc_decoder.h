// From log-probabilities to tokens: what all CTC decoders do alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "decoder/hypothesis.h"
#include "decoder/rows.h"

namespace sparrot {

// Takes a segment in pieces, one output frame after the other: it decodes alike however it is cut.
// Token 0 is the blank. One thread at a time.
class CtcDecoder {
 public:
  virtual ~CtcDecoder() = default;

  // Goes on by frames of natural log-probabilities [n][n_tokens], computed at one level. The
  // penalty is subtracted from the blank's before anything else.
  //
  // Throws std::invalid_argument, with a sentence and before the first frame, if there are not two
  // tokens or more, or not as many as before in the segment; if a frame has no finite best token;
  // if the penalty is not finite.
  void Accept(const Rows<const double>& log_probs, Level level, double blank_penalty);

  // The same with the log-softmax (log_probs.h) of what the network computed, which must be finite.
  void AcceptLogits(const Rows<const float>& logits, Level level, double blank_penalty);

  // Starts a new segment at output frame 0.
  void Reset();

  std::int64_t n_frames() const { return n_frames_; }

  // Frames at the end whose best token is the blank.
  std::int64_t trailing_blanks() const { return trailing_blanks_; }

  // Tokens of the best hypothesis, and how many of them later frames cannot change.
  virtual std::size_t n_tokens() const = 0;
  virtual std::size_t n_stable() const = 0;

  // The most probable first; there is always one.
  virtual std::vector<Hypothesis> Hypotheses() const = 0;
  virtual Hypothesis Best() const = 0;

  // The same if the segment ends here.
  virtual std::vector<Hypothesis> Finals() const = 0;

  virtual Storage storage() const = 0;

 protected:
  struct Frame {
    std::span<const double> log_probs;
    std::int32_t best;  // the lowest of equals
    std::int64_t number;
    Level level;

    double operator[](std::int32_t token) const {
      return log_probs[static_cast<std::size_t>(token)];
    }
    TokenHit Hit(std::int32_t token) const { return {token, level, number, (*this)[token]}; }
  };

 private:
  virtual void Step(const Frame& frame) = 0;
  virtual void Restart() = 0;

  void CheckWidth(std::size_t width);
  void GoOn(Level level, double blank_penalty);

  std::vector<double> row_;  // of the frame at hand; empty before a segment's first
  std::int64_t n_frames_ = 0;
  std::int64_t trailing_blanks_ = 0;
};

}  // namespace sparrot
