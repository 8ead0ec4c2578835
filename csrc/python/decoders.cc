#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/unique_ptr.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "decoder/ctc_decoder.h"
#include "decoder/greedy.h"
#include "decoder/prefix_beam.h"
#include "python/bindings.h"
#include "python/guarded.h"

namespace nb = nanobind;

namespace sparrot {
namespace {

using Ctc = Guarded<CtcDecoder>;

void Accept(Ctc& self, const FrameArray<double>& log_probs, Level level, double blank_penalty) {
  const Rows<const double> rows = RowsOf(log_probs);
  self.Do([&](CtcDecoder& decoder) { decoder.Accept(rows, level, blank_penalty); });
}

void AcceptLogits(Ctc& self, const FrameArray<float>& logits, Level level, double blank_penalty) {
  const Rows<const float> rows = RowsOf(logits);
  self.Do([&](CtcDecoder& decoder) { decoder.AcceptLogits(rows, level, blank_penalty); });
}

std::unique_ptr<Ctc> Greedy() { return std::make_unique<Ctc>(std::make_unique<GreedyDecoder>()); }

std::unique_ptr<Ctc> PrefixBeam(std::int64_t beam, double token_floor, double margin,
                                std::int64_t settle_frames, std::shared_ptr<Bias> bias) {
  const PrefixBeamOptions options{beam, token_floor, margin, settle_frames};
  return std::make_unique<Ctc>(std::make_unique<PrefixBeamDecoder>(options, std::move(bias)));
}

}  // namespace

void BindDecoders(nb::module_& module) {
  nb::class_<Ctc> decoder(module, "CtcDecoder");
  DefineSearch(decoder);
  decoder.def("accept", &Accept, nb::arg("log_probs").noconvert(), nb::arg("level"),
              nb::arg("blank_penalty"));
  decoder.def("accept_logits", &AcceptLogits, nb::arg("logits").noconvert(), nb::arg("level"),
              nb::arg("blank_penalty"));
  module.def("greedy_decoder", &Greedy);
  module.def("prefix_beam_decoder", &PrefixBeam, nb::arg("beam"), nb::arg("token_floor"),
             nb::arg("margin"), nb::arg("settle_frames"), nb::arg("bias").none());
}

}  // namespace sparrot
