#include "language/ngram.h"

#include <numbers>

namespace sparrot {
namespace {

// A context is the node of its longest end that is listed, and shorter than the order.
class NgramScorer final : public LanguageScorer {
 public:
  explicit NgramScorer(const Ngram& model)
      : tree_(model.tree()), begin_(model.vocabulary().begin()), end_(model.vocabulary().end()) {}

  Context Start() override { return Find({NgramTree::kRoot, begin_}).next; }

  void Advance(std::span<Continuation> continuations) override {
    for (Continuation& each : continuations) {
      if (each.word != kNothing) each.context = Find(each).next;
    }
  }

  double LogProb(const Continuation& asked) const override {
    return asked.word == kNothing ? 0.0 : std::numbers::ln10 * Find(asked).log10_prob;
  }

  double LogProbToEnd(const Continuation& asked) const override {
    const Found last = asked.word == kNothing ? Found{0.0, asked.context} : Find(asked);
    return std::numbers::ln10 * (last.log10_prob + Find({last.next, end_}).log10_prob);
  }

 private:
  struct Found {
    double log10_prob;
    Context next;  // the context after the word
  };

  Found Find(const Continuation& asked) const {
    double backoff = 0.0;
    NgramTree::Node context = asked.context;
    while (true) {
      const NgramTree::Node found = tree_.Child(context, asked.word);
      if (found != NgramTree::kNone) {
        const double log_prob = backoff + static_cast<double>(tree_.log_prob(found));
        return {log_prob, tree_.IsContext(found) ? found : tree_.Shorter(found)};
      }
      backoff += static_cast<double>(tree_.log_backoff(context));
      context = tree_.Shorter(context);
    }
  }

  const NgramTree& tree_;
  Word begin_, end_;
};

}  // namespace

std::unique_ptr<LanguageScorer> Ngram::NewScorer() const {
  return std::make_unique<NgramScorer>(*this);
}

}  // namespace sparrot
