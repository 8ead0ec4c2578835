// Streams of one network in several threads at once, on a pool of threads whose size changes, at levels that
// another thread chooses, while denser segments are added. Each chunk notes its level; afterwards one thread
// computes every stream again, and the bits must be the same. Built with -fsanitize=thread, it finds what
// the bits do not show. Prints one line an instruction set; ends with 1 if anything differs.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "layout/buffer.h"
#include "network/matrix.h"
#include "network/network.h"
#include "network/recurrent.h"
#include "network/threads.h"

namespace {

using namespace sparrot;

// Multiples of 16, so that no segment has padding.
constexpr std::size_t kWidth = 48;        // of a feature frame
constexpr std::size_t kCells = 192;       // so many that a product is shared among threads: over 0.3 MB
constexpr std::size_t kProjection = 128;  // values that a recurrent layer feeds back
constexpr std::size_t kTokens = 32;
constexpr std::size_t kStops = 4;
constexpr std::size_t kChunkFrames = 4;
constexpr std::size_t kChunks = 12;
constexpr std::size_t kCallers = 3;
constexpr std::size_t kBatch = 48;  // 16 at least for each of up to three threads

// The segments of one matrix, each dense in every fourth column, as they would lie in a file.
struct Segments {
  MatrixShape shape;
  WeightType type;
  std::vector<float> row_scales;
  std::vector<std::uint32_t> starts;
  std::vector<std::vector<std::uint16_t>> columns;
  std::vector<Buffer> values;
  std::size_t n_bytes;  // of the values of one segment

  PieceArrays At(std::size_t k) const {
    return {Layout::kStrip16, type, starts, columns[k], {values[k].As<std::byte>(), n_bytes}};
  }
};

std::unique_ptr<Segments> RandomSegments(MatrixShape shape, WeightType type, std::mt19937& random) {
  const std::size_t strips = shape.Strips(), group = ColumnsPerGroup(type);
  const std::size_t kept = shape.columns / kStops, groups = kept / group, n_values = strips * kept * kStripRows;
  auto made = std::make_unique<Segments>(Segments{shape, type, {}, {}, {}, {}, n_values * 4 / group});
  if (type == WeightType::kInt8) made->row_scales.assign(kStripRows * strips, 1e-3F);
  for (std::size_t s = 0; s <= strips; ++s) made->starts.push_back(static_cast<std::uint32_t>(s * groups));
  made->starts.resize(RoundUp(made->starts.size(), kStartsMultiple), made->starts.back());
  for (std::size_t k = 0; k < kStops; ++k) {
    std::vector<std::uint16_t>& columns = made->columns.emplace_back();
    for (std::size_t s = 0; s < strips; ++s) {
      for (std::size_t c = 0; c < kept; ++c) columns.push_back(static_cast<std::uint16_t>(c * kStops + k));
    }
    columns.resize(RoundUp(columns.size(), kColumnsMultiple));
    const Buffer& values = made->values.emplace_back(made->n_bytes);
    std::uniform_real_distribution<float> weight(-0.1F, 0.1F);
    for (std::size_t i = 0; i < n_values; ++i) {
      if (type == WeightType::kInt8) {
        values.As<std::int8_t>()[i] = static_cast<std::int8_t>(weight(random) * 1000);
      } else {
        values.As<float>()[i] = weight(random);
      }
    }
  }
  return made;
}

// A network of two recurrent layers whose weights are those of a seed.
class Model {
 public:
  Model(const Kernels& kernels, WeightType type) : network_(std::make_shared<Network>(kernels, kWidth)) {
    std::mt19937 random(7);
    const auto matrix = [&](std::size_t rows, std::size_t columns, std::size_t gates) {
      segments_.push_back(RandomSegments({rows, columns, gates}, type, random));
      matrices_.push_back(std::make_shared<Matrix>(segments_.back()->shape, type, segments_.back()->row_scales));
      return matrices_.back();
    };
    const auto zeros = [](const Matrix& weight) { return std::vector<float>(weight.padded_rows()); };
    network_->Add(std::make_unique<Window>(kWidth, Reach{1, 1, 2}));
    const auto input = matrix(4 * kCells, 3 * kWidth, 4), recurrent = matrix(4 * kCells, kProjection, 4);
    const auto projection = matrix(kProjection, kCells, 1);
    network_->Add(std::make_unique<Recurrent>(
        Cell::kLstm, std::vector<DirectionWeights>{{input, recurrent, projection, zeros(*input), {}}}));
    const auto gru_input = matrix(3 * kCells, kProjection, 3), gru = matrix(3 * kCells, kCells, 3);
    network_->Add(std::make_unique<Recurrent>(
        Cell::kGru, std::vector<DirectionWeights>{
                        {gru_input, gru, nullptr, zeros(*gru_input), std::vector<float>(kCells)}}));
    const auto output = matrix(kTokens, kCells, 1);
    network_->Add(std::make_unique<Linear>(output, zeros(*output), Activation{}));
    AddStop();
  }

  const std::shared_ptr<Network>& network() const { return network_; }
  std::size_t n_stops() const { return n_stops_.load(std::memory_order_acquire); }

  // The next segment of every matrix; one thread at a time.
  void AddStop() {
    const std::size_t k = n_stops();
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
      matrices_[i]->Add(segments_[i]->At(k), Finiteness::kChecked);
    }
    n_stops_.store(k + 1, std::memory_order_release);
  }

 private:
  std::vector<std::unique_ptr<Segments>> segments_;
  std::vector<std::shared_ptr<Matrix>> matrices_;
  std::shared_ptr<Network> network_;
  std::atomic<std::size_t> n_stops_ = 0;
};

using Chunks = std::vector<std::vector<float>>;

// Streams that go through a network together, and what became of them.
struct Batch {
  std::vector<NetworkStream> streams;
  std::vector<std::size_t> stops;  // of each chunk
  Chunks chunks;                   // of all streams, chunk by chunk

  Batch(const Model& model, std::size_t n, std::size_t seed) {
    std::mt19937 random(static_cast<std::mt19937::result_type>(seed));
    std::normal_distribution<float> value;
    std::vector<float> frames(2 * kChunks * kChunkFrames * kWidth);
    for (std::size_t i = 0; i < n; ++i) {
      for (float& x : frames) x = value(random);
      streams.emplace_back(model.network(), kChunkFrames).Push(frames.data(), frames.size() / kWidth);
      streams.back().Finish();
    }
  }

  void Next(std::size_t stop) {
    std::vector<NetworkStream*> all;
    for (NetworkStream& stream : streams) all.push_back(&stream);
    std::vector<std::vector<float>> logits(all.size());
    Advance(all, std::vector<std::size_t>(all.size(), stop), logits);
    stops.push_back(stop);
    for (std::vector<float>& one : logits) chunks.push_back(std::move(one));
  }
};

bool SameBits(const Chunks& a, const Chunks& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), 4 * a[i].size()) != 0) return false;
  }
  return true;
}

// What every caller computed while levels, threads and segments changed.
std::vector<Batch> RunTogether(Model& model) {
  std::vector<Batch> batches;
  for (std::size_t i = 0; i < kCallers; ++i) batches.emplace_back(model, i == 0 ? kBatch : 1, i);
  std::atomic<std::size_t> level = 0, n_running = kCallers;
  std::vector<std::thread> callers;
  for (Batch& batch : batches) {
    callers.emplace_back([&] {
      for (std::size_t i = 0; i < kChunks; ++i) batch.Next(std::min(level.load(), model.n_stops() - 1));
      --n_running;
    });
  }
  std::thread grower([&] {
    while (model.n_stops() < kStops) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      model.AddStop();
    }
  });
  for (std::size_t i = 0; n_running > 0; ++i) {
    level = i % kStops;
    SetThreads(i % 50 < 40 ? 2 : i % 3 + 1);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  for (std::thread& caller : callers) caller.join();
  grower.join();
  return batches;
}

// Chunks computed, and how many callers got other bits than one thread by itself.
std::pair<std::size_t, int> Check(const Kernels& kernels, WeightType type) {
  Model model(kernels, type);
  const std::vector<Batch> batches = RunTogether(model);
  SetThreads(1);
  std::size_t n_chunks = 0;
  int n_wrong = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    Batch alone(model, batches[i].streams.size(), i);
    for (const std::size_t stop : batches[i].stops) alone.Next(stop);
    n_chunks += batches[i].chunks.size();
    n_wrong += SameBits(alone.chunks, batches[i].chunks) ? 0 : 1;
  }
  return {n_chunks, n_wrong};
}

}  // namespace

// usage: races [rounds]
int main(int n_arguments, char** arguments) {
  const int n_rounds = n_arguments > 1 ? std::stoi(arguments[1]) : 1;
  int n_failures = 0;
  for (const Kernels* kernels : AvailableKernels()) {
    std::size_t n_chunks = 0;
    int n_wrong = 0;
    for (int round = 0; round < n_rounds; ++round) {
      for (const WeightType type : {WeightType::kFloat32, WeightType::kInt8}) {
        const auto [chunks, wrong] = Check(*kernels, type);
        n_chunks += chunks, n_wrong += wrong;
      }
    }
    std::printf("%s: %d callers got other bits in %zu chunks\n", std::string(kernels->name).c_str(), n_wrong,
                n_chunks);
    n_failures += n_wrong;
  }
  return n_failures == 0 ? 0 : 1;
}
