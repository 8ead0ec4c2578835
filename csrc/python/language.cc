#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "decoder/bias.h"
#include "language/arpa.h"
#include "network/word_model.h"
#include "python/arrays.h"
#include "python/bindings.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

std::shared_ptr<Ngram> Arpa(const Array<const std::uint8_t, -1>& text) {
  const std::string_view view(reinterpret_cast<const char*>(text.data()), text.size());
  const nb::gil_scoped_release release;
  return ReadArpa(view);
}

std::vector<nb::bytes> Words(const LanguageModel& model) {
  std::vector<nb::bytes> words;
  for (const std::string& word : model.vocabulary().words()) {
    words.emplace_back(word.data(), word.size());
  }
  return words;
}

std::string String(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }

std::vector<std::string> Strings(const std::vector<nb::bytes>& several) {
  std::vector<std::string> strings;
  for (const nb::bytes& bytes : several) strings.push_back(String(bytes));
  return strings;
}

// ln p of each word of a sentence, and of its end.
std::vector<double> LogProbs(const LanguageModel& model, const std::vector<nb::bytes>& sentence) {
  const auto scorer = model.NewScorer();
  LanguageScorer::Continuation next{scorer->Start(), LanguageScorer::kNothing};
  std::vector<double> log_probs;
  for (const nb::bytes& word : sentence) {
    next.word = model.vocabulary().Find(String(word));
    log_probs.push_back(scorer->LogProb(next));
    scorer->Advance({&next, 1});
  }
  next.word = LanguageScorer::kNothing;
  log_probs.push_back(scorer->LogProbToEnd(next));
  return log_probs;
}

std::shared_ptr<LanguageModel> WordModel(const std::vector<nb::bytes>& words,
                                         const std::vector<std::int32_t>& indices,
                                         const std::shared_ptr<Network>& network, Level level) {
  return std::make_shared<NetworkWordModel>(Vocabulary(Strings(words)), indices, network, level);
}

// Of a language model: itself, scale, bonus, and what it calls each token, if anything.
using GivenFusion =
    std::tuple<std::shared_ptr<LanguageModel>, double, double, std::vector<nb::bytes>>;

void MakeBias(Bias* bias, const std::vector<nb::bytes>& spellings,
              const std::vector<std::pair<nb::bytes, double>>& boosts,
              const std::optional<GivenFusion>& given) {
  std::vector<Hotword> hotwords;
  for (const auto& [phrase, boost] : boosts) hotwords.push_back({String(phrase), boost});
  std::optional<Fusion> fusion;
  if (given) {
    const auto& [model, scale, bonus, tokens] = *given;
    fusion.emplace(model, scale, bonus, Strings(tokens));
  }
  new (bias) Bias(Strings(spellings), hotwords, std::move(fusion));
}

}  // namespace

void BindLanguage(nb::module_& module) {
  nb::class_<LanguageModel>(module, "LanguageModel")
      .def("words", &Words)
      .def("log_probs", &LogProbs, nb::arg("sentence"));
  nb::class_<Ngram, LanguageModel>(module, "Ngram")
      .def_prop_ro("order", [](const Ngram& model) { return model.tree().order(); })
      .def_prop_ro("n_ngrams", [](const Ngram& model) { return model.tree().n_ngrams(); })
      .def_prop_ro("bytes", [](const Ngram& model) { return model.tree().bytes(); });
  module.def("read_arpa", &Arpa, nb::arg("text"));
  module.def("network_word_model", &WordModel, nb::arg("words"), nb::arg("indices"),
             nb::arg("network"), nb::arg("level"));
  nb::class_<Bias>(module, "Bias")
      .def("__init__", &MakeBias, nb::arg("spellings"), nb::arg("hotwords"), nb::arg("fusion").none());
}

}  // namespace sparrot
