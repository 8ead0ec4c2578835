// How a search of the core becomes a class of Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "decoder/hypothesis.h"
#include "decoder/rows.h"

namespace sparrot {

template <typename T>
using FrameArray =
    nanobind::ndarray<const T, nanobind::shape<-1, -1>, nanobind::c_contig, nanobind::device::cpu>;

template <typename T>
Rows<const T> RowsOf(const FrameArray<T>& frames) {
  return {frames.data(), frames.shape(0), frames.shape(1)};
}

// A search and its lock. Every call lets go of the interpreter before it waits for the lock, so
// threads that meet in a search take turns and cannot block each other.
template <typename Search>
class Guarded {
 public:
  explicit Guarded(std::unique_ptr<Search> search) : search_(std::move(search)) {}

  template <typename Work>
  auto Do(const Work& work) {
    const nanobind::gil_scoped_release release;
    const std::scoped_lock lock(mutex_);
    return work(*search_);
  }

  // For work on several searches at once, without the interpreter.
  std::mutex& mutex() { return mutex_; }
  Search& search() { return *search_; }

 private:
  std::unique_ptr<Search> search_;
  std::mutex mutex_;
};

// ([(token, frame, log_prob, level), …], log_prob)
using ShownHit = std::tuple<std::int32_t, std::int64_t, double, Level>;
using ShownHypothesis = std::tuple<std::vector<ShownHit>, double>;

inline ShownHypothesis Shown(const Hypothesis& hypothesis) {
  std::vector<ShownHit> hits;
  hits.reserve(hypothesis.tokens.size());
  for (const TokenHit& hit : hypothesis.tokens) {
    hits.emplace_back(hit.id, hit.frame, hit.log_prob, hit.level);
  }
  return {std::move(hits), hypothesis.log_prob};
}

inline std::vector<ShownHypothesis> Shown(const std::vector<Hypothesis>& hypotheses) {
  std::vector<ShownHypothesis> shown;
  for (const Hypothesis& hypothesis : hypotheses) shown.push_back(Shown(hypothesis));
  return shown;
}

// What all searches have in common, whatever they accept.
template <typename Search>
void DefineSearch(nanobind::class_<Guarded<Search>>& bound) {
  using Self = Guarded<Search>;
  bound.def("reset", [](Self& self) { self.Do([](Search& search) { search.Reset(); }); });
  bound.def("best", [](Self& self) {
    return Shown(self.Do([](const Search& search) { return search.Best(); }));
  });
  bound.def("hypotheses", [](Self& self) {
    return Shown(self.Do([](const Search& search) { return search.Hypotheses(); }));
  });
  bound.def("finals", [](Self& self) {
    return Shown(self.Do([](const Search& search) { return search.Finals(); }));
  });
  bound.def_prop_ro("n_frames", [](Self& self) {
    return self.Do([](const Search& search) { return search.n_frames(); });
  });
  bound.def_prop_ro("trailing_blanks", [](Self& self) {
    return self.Do([](const Search& search) { return search.trailing_blanks(); });
  });
  bound.def_prop_ro("n_tokens", [](Self& self) {
    return self.Do([](const Search& search) { return search.n_tokens(); });
  });
  bound.def_prop_ro("n_stable", [](Self& self) {
    return self.Do([](const Search& search) { return search.n_stable(); });
  });
  bound.def_prop_ro("storage", [](Self& self) {
    const Storage storage = self.Do([](const Search& search) { return search.storage(); });
    return std::tuple(storage.prefixes, storage.hits, storage.bytes);
  });
}

}  // namespace sparrot
