#include "decoder/transducer_search.h"

#include <algorithm>
#include <functional>
#include <stdexcept>

#include "decoder/log_probs.h"

namespace sparrot {

// The searches that still have frames, round by round: every round joins the hypotheses of all.
class TransducerBatch {
 public:
  using Sentences = std::vector<std::optional<std::string>>;

  explicit TransducerBatch(std::span<const TransducerPiece> pieces)
      : pieces_(pieces), model_(*pieces.front().search->model_), sentences_(pieces.size()) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const TransducerPiece& piece = pieces[i];
      if (piece.search->model_.get() != &model_) {
        throw std::invalid_argument("searches that step together must share their model");
      }
      CheckBlankPenalty(piece.blank_penalty);
      if (piece.frames.width != model_.sizes().encoder) {
        throw std::invalid_argument("the joint network takes frames of " +
                                    std::to_string(model_.sizes().encoder) + " values; got " +
                                    std::to_string(piece.frames.width));
      }
      if (piece.frames.n > 0) live_.push_back({i, 0, 0, 0});
    }
  }

  Sentences Run() {
    for (const Live& each : live_) {
      TransducerSearch& search = Search(each);
      if (!search.has_begun_) search.Begin(search.predictor_.Start(Piece(each).level));
      search.has_begun_ = true;
    }
    while (!live_.empty()) Round();
    return std::move(sentences_);
  }

 private:
  // A piece at one of its frames, and the rows of its hypotheses.
  struct Live {
    std::size_t piece;
    std::size_t frame;
    std::size_t first_row, n_rows;
  };

  const TransducerPiece& Piece(const Live& live) const { return pieces_[live.piece]; }
  TransducerSearch& Search(const Live& live) const { return *Piece(live).search; }

  void Round() {
    Gather();
    Join();
    std::erase_if(live_, [&](Live& each) { return !GoOn(each); });
    PredictorCache::Predict(caches_);
  }

  // Fills the inputs of the joint network.
  void Gather() {
    levels_.clear(), frames_.clear(), outputs_.clear(), caches_.clear();
    for (Live& each : live_) {
      TransducerSearch& search = Search(each);
      caches_.push_back(&search.predictor_);
      search.ListRows(entries_);
      each.first_row = levels_.size();
      each.n_rows = entries_.size();
      for (const PredictorCache::Entry entry : entries_) {
        const std::span<const float> frame = Piece(each).frames[each.frame];
        const std::span<const float> output = search.predictor_.Output(entry);
        levels_.push_back(Piece(each).level);
        frames_.insert(frames_.end(), frame.begin(), frame.end());
        outputs_.insert(outputs_.end(), output.begin(), output.end());
      }
    }
  }

  void Join() {
    const TransducerModel::Sizes sizes = model_.sizes();
    const std::size_t n = levels_.size();
    logits_.resize(n * sizes.n_tokens);
    log_probs_.resize(n * sizes.n_tokens);
    model_.Join(levels_, {frames_.data(), n, sizes.encoder}, {outputs_.data(), n, sizes.output},
                {logits_.data(), n, sizes.n_tokens});
  }

  // Lets a search take its rows; false if that was its last frame, or if it cannot be decoded.
  bool GoOn(Live& live) {
    TransducerSearch& search = Search(live);
    try {
      const Rows<const double> log_probs = LogProbs(live);
      if (!search.Step({search.n_frames_, Piece(live).level, log_probs})) return true;
    } catch (const std::invalid_argument& error) {
      sentences_[live.piece] = error.what();
      return false;
    }
    ++search.n_frames_;
    return ++live.frame < Piece(live).frames.n;
  }

  Rows<const double> LogProbs(const Live& live) {
    const std::size_t n_tokens = model_.sizes().n_tokens, first = live.first_row * n_tokens;
    const Rows<float> logits{logits_.data() + first, live.n_rows, n_tokens};
    const Rows<double> log_probs{log_probs_.data() + first, live.n_rows, n_tokens};
    CheckLogits(logits.All());
    for (std::size_t i = 0; i < live.n_rows; ++i) {
      LogSoftmax(logits[i], log_probs[i]);
      log_probs[i][kBlank] -= Piece(live).blank_penalty;
    }
    return {log_probs.data, log_probs.n, log_probs.width};
  }

  std::span<const TransducerPiece> pieces_;
  const TransducerModel& model_;
  Sentences sentences_;
  std::vector<Live> live_;

  // Of the round at hand; kept to be filled again.
  std::vector<PredictorCache*> caches_;
  std::vector<PredictorCache::Entry> entries_;
  std::vector<Level> levels_;
  std::vector<float> frames_, outputs_, logits_;
  std::vector<double> log_probs_;
};

void TransducerSearch::Accept(const Rows<const float>& frames, Level level, double blank_penalty) {
  const TransducerPiece piece{this, frames, level, blank_penalty};
  const auto sentences = TransducerBatch({&piece, 1}).Run();
  if (sentences.front()) throw std::invalid_argument(*sentences.front());
}

void TransducerSearch::Reset() {
  Restart();
  predictor_.Clear();
  has_begun_ = false;
  n_frames_ = 0;
}

std::vector<std::optional<std::string>> AcceptTogether(std::span<const TransducerPiece> pieces) {
  if (pieces.empty()) return {};
  std::vector<const TransducerSearch*> named;
  for (const TransducerPiece& piece : pieces) named.push_back(piece.search);
  std::sort(named.begin(), named.end(), std::less<>());
  if (std::adjacent_find(named.begin(), named.end()) != named.end()) {
    throw std::invalid_argument("a search is in a batch twice, and has one next frame");
  }
  return TransducerBatch(pieces).Run();
}

}  // namespace sparrot
