// A token through all blocks of a small model in one launch, against float64 that rounds to f16 where the kernel does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "awq/error.h"
#include "backend/cuda/current_gpu.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/run/page_pool.h"
#include "backend/cuda/run/rope_table.h"
#include "backend/cuda/run/token_step.h"
#include "backend/cuda/run/token_step_limits.h"
#include "core/half.h"

namespace awq::backend::cuda::testing {
namespace {

struct StepCase {
  const char* name;
  int hidden, intermediate, heads, kv_heads, head_dim, group, position;
  int window = 0;
  bool head_norms = false, bias = false;
  int layers = 2, sms = 6;
};

void PrintTo(const StepCase& c, std::ostream* out) { *out << c.name; }

constexpr float kEps = 1e-5f, kTheta = 10000;

double silu(double v) { return v / (1 + std::exp(-v)); }
float rounded(double v) { return f16_to_f32(f32_to_f16(static_cast<float>(v))); }

// The model on the host.
struct StepProblem {
  struct Block {
    std::vector<HostLinear> linears;  // in order of StepLinear
    std::vector<float> input_norm, post_norm, q_norm, k_norm;
    std::vector<f16_t> keys, values;  // (kv head, position, d): of the tokens before
  };

  explicit StepProblem(const StepCase& c) : shape(c) {
    const int qkv = (c.heads + 2 * c.kv_heads) * c.head_dim;
    for (int layer = 0; layer < c.layers; ++layer) {
      Block& b = blocks.emplace_back();
      b.linears = {linear(qkv, c.hidden, c.bias), linear(c.hidden, c.heads * c.head_dim, false),
                   linear(2 * c.intermediate, c.hidden, false), linear(c.hidden, c.intermediate, false)};
      b.input_norm = numbers(c.hidden, 1, 0.2f), b.post_norm = numbers(c.hidden, 1, 0.2f);
      if (c.head_norms) b.q_norm = numbers(c.head_dim, 1, 0.2f), b.k_norm = numbers(c.head_dim, 1, 0.2f);
      for (std::vector<f16_t>* cache : {&b.keys, &b.values})
        for (const float v : numbers(c.kv_heads * c.position * c.head_dim, 0, 1)) cache->push_back(f32_to_f16(v));
    }
    hidden = numbers(c.hidden, 0, 1);
  }

  std::vector<float> numbers(int count, float mean, float spread) {
    std::vector<float> v(static_cast<size_t>(count));
    for (float& x : v) x = mean + spread * normal(random);
    return v;
  }

  HostLinear linear(int n, int k, bool bias) {
    HostLinear host;
    host.n = n, host.k = k, host.is_packed = true;
    format::QuantizedLinear& w = host.packed;
    w.n = n, w.k = k, w.group = shape.group;
    for (int64_t i = 0; i < int64_t{n} * k; ++i) w.q.push_back(random() % 16);
    for (int64_t i = 0; i < n * w.groups(); ++i) {
      w.zeros.push_back(static_cast<uint8_t>(6 + random() % 4));
      w.scales.push_back(f32_to_f16(0.2f / std::sqrt(static_cast<float>(k)) * (1 + 0.5f * std::abs(normal(random)))));
    }
    if (bias)
      for (const float v : numbers(n, 0, 0.5f)) host.bias.push_back(f32_to_f16(v));
    return host;
  }

  static std::vector<double> multiplied(const HostLinear& w, const std::vector<double>& x) {
    std::vector<double> y(static_cast<size_t>(w.n));
    for (int64_t r = 0; r < w.n; ++r) {
      double sum = w.bias.empty() ? 0 : f16_to_f32(w.bias[r]);
      for (int64_t c = 0; c < w.k; ++c) {
        const int64_t g = r * w.packed.groups() + c / w.packed.group;
        sum += (int{w.packed.q[r * w.k + c]} - int{w.packed.zeros[g]}) * double{f16_to_f32(w.packed.scales[g])} * x[c];
      }
      y[r] = sum;
    }
    return y;
  }

  static std::vector<double> normed(const std::vector<double>& x, const std::vector<float>& weight) {
    double squares = 0;
    for (const double v : x) squares += v * v;
    std::vector<double> y;
    for (size_t i = 0; i < x.size(); ++i)
      y.push_back(rounded(x[i] / std::sqrt(squares / static_cast<double>(x.size()) + kEps) * weight[i]));
    return y;
  }

  // Head number `head` of qkv, rotated.
  std::vector<double> rotated(const std::vector<double>& qkv, int head, const std::vector<float>& norm) const {
    const int d = shape.head_dim;
    std::vector<double> v(qkv.begin() + head * d, qkv.begin() + (head + 1) * d), out(v.size());
    double squares = 0;
    for (const double x : v) squares += x * x;
    for (int i = 0; !norm.empty() && i < d; ++i) v[i] *= norm[i] / std::sqrt(squares / d + kEps);
    for (int i = 0; i < d / 2; ++i) {
      const double angle = static_cast<float>(shape.position) * frequencies()[i];
      out[i] = rounded(v[i] * std::cos(angle) - v[i + d / 2] * std::sin(angle));
      out[i + d / 2] = rounded(v[i + d / 2] * std::cos(angle) + v[i] * std::sin(angle));
    }
    return out;
  }

  std::vector<float> frequencies() const {
    std::vector<float> f;
    for (int i = 0; i < shape.head_dim; i += 2)
      f.push_back(static_cast<float>(std::pow(kTheta, -double(i) / shape.head_dim)));
    return f;
  }

  std::vector<double> attended(const Block& b, const std::vector<double>& qkv) const {
    const StepCase& c = shape;
    const int d = c.head_dim, first = c.window > 0 ? std::max(0, c.position + 1 - c.window) : 0;
    std::vector<double> out;
    for (int head = 0; head < c.heads; ++head) {
      const int kv = head / (c.heads / c.kv_heads);
      const std::vector<double> q = rotated(qkv, head, b.q_norm), k = rotated(qkv, c.heads + kv, b.k_norm);
      const auto key = [&](int p, int i) {
        return p == c.position ? k[i] : f16_to_f32(b.keys[(kv * c.position + p) * d + i]);
      };
      const auto value = [&](int p, int i) {
        return p == c.position ? qkv[(c.heads + c.kv_heads + kv) * d + i]
                               : f16_to_f32(b.values[(kv * c.position + p) * d + i]);
      };
      std::vector<double> weight;
      double total = 0;
      for (int p = first; p <= c.position; ++p) {
        double sum = 0;
        for (int i = 0; i < d; ++i) sum += q[i] * key(p, i);
        weight.push_back(std::exp(sum / std::sqrt(d)));
        total += weight.back();
      }
      for (int i = 0; i < d; ++i) {
        double sum = 0;
        for (int p = first; p <= c.position; ++p) sum += weight[p - first] / total * value(p, i);
        out.push_back(rounded(sum));
      }
    }
    return out;
  }

  // The residual stream behind the last block.
  std::vector<double> result() const {
    std::vector<double> h(hidden.begin(), hidden.end());
    const auto add = [&h](const std::vector<double>& y) {
      for (size_t i = 0; i < h.size(); ++i) h[i] += y[i];
    };
    for (const Block& b : blocks) {
      std::vector<double> qkv = multiplied(b.linears[kStepQkv], normed(h, b.input_norm));
      for (double& v : qkv) v = rounded(v);
      add(multiplied(b.linears[kStepO], attended(b, qkv)));
      const std::vector<double> y = multiplied(b.linears[kStepGateUp], normed(h, b.post_norm));
      std::vector<double> activated;
      for (int i = 0; i < shape.intermediate; ++i)
        activated.push_back(rounded(silu(y[row_in_turn(0, i)]) * y[row_in_turn(1, i)]));
      add(multiplied(b.linears[kStepDown], activated));
    }
    return h;
  }

  StepCase shape;
  std::mt19937 random{7};
  std::normal_distribution<float> normal;
  std::vector<Block> blocks;
  std::vector<float> hidden;
};

DeviceBuffer uploaded(const std::vector<float>& v) {
  DeviceBuffer out;
  if (v.empty()) return out;
  out.reserve(v.size() * sizeof(float));
  require(cudaMemcpy(out.as(), v.data(), out.bytes(), cudaMemcpyHostToDevice));
  return out;
}

// The same on the device, its token in slot 1.
class StepOnDevice {
 public:
  StepOnDevice(const StepProblem& p, cudaStream_t stream)
      : problem_(p),
        stream_(stream),
        pages_(3, p.shape.position + 1, page_bytes(attention(), p.shape.layers)),
        rope_(p.frequencies(), p.shape.position + 1),
        hidden_(p.hidden.size() * sizeof(float)),
        row_(sizeof(StepRow)) {
    Gpu gpu = current_gpu();
    gpu.sms = std::min(gpu.sms, p.shape.sms);
    UploadSpace space;
    for (const StepProblem::Block& b : p.blocks) {
      DeviceBlock& to = model_.blocks.emplace_back();
      to.input_norm = uploaded(b.input_norm), to.post_attention_norm = uploaded(b.post_norm);
      to.q_norm = uploaded(b.q_norm), to.k_norm = uploaded(b.k_norm);
      RunLinear DeviceBlock::*const order[] = {&DeviceBlock::qkv, &DeviceBlock::o, &DeviceBlock::gate_up,
                                               &DeviceBlock::down};
      for (int i = 0; i < kStepLinears; ++i) to.*order[i] = RunLinear(b.linears[i], "auto", gpu, space, stream);
    }
    pages_.ensure(0, 1, stream);  // so that slot 1 has other pages
    pages_.ensure(1, p.shape.position + 1, stream);
    rope_.extend(p.shape.position + 1, stream);
    require(cudaStreamSynchronize(stream));
    fill_cache();
    const StepRow row{.token = 0, .slot = 1, .position = p.shape.position};
    row_.upload(std::span(&row, 1));
    step_.emplace(config(), model_, gpu, stream);
  }

  std::vector<float> run() {
    hidden_.poison();
    hidden_.upload(std::span<const float>(problem_.hidden));
    require(step_->launch({.hidden = static_cast<float*>(hidden_.data()),
                           .row = static_cast<const StepRow*>(row_.data()),
                           .pages = pages_.table(),
                           .rope = rope_.data()},
                          {.stream = stream_}));
    require(cudaStreamSynchronize(stream_));
    EXPECT_TRUE(hidden_.guards_intact());
    return hidden_.download<float>();
  }

 private:
  AttentionShape attention() const {
    const StepCase& c = problem_.shape;
    return {.heads = c.heads, .kv_heads = c.kv_heads, .head_dim = c.head_dim};
  }

  model::ModelConfig config() const {
    const StepCase& c = problem_.shape;
    model::ModelConfig config;
    config.layers = c.layers, config.hidden = c.hidden, config.intermediate = c.intermediate;
    config.heads = c.heads, config.kv_heads = c.kv_heads, config.head_dim = c.head_dim;
    config.norm_eps = kEps, config.sliding_window = c.window;
    config.layer_slides.assign(static_cast<size_t>(c.layers), c.window > 0);
    return config;
  }

  void fill_cache() {
    const StepCase& c = problem_.shape;
    const PageTable table = pages_.table();
    std::vector<void*> pages(static_cast<size_t>(table.pages_a_slot));
    require(cudaMemcpy(pages.data(), table.pages + table.pages_a_slot, pages.size() * sizeof(void*),
                       cudaMemcpyDeviceToHost));
    const auto row = static_cast<size_t>(c.head_dim) * 2;
    for (int layer = 0; layer < c.layers; ++layer)
      for (const bool value : {false, true})
        for (int kv = 0; kv < c.kv_heads; ++kv)
          for (int p = 0; p < c.position; ++p) {
            const StepProblem::Block& b = problem_.blocks[static_cast<size_t>(layer)];
            const int64_t at = ((int64_t{2} * layer + value) * c.kv_heads + kv) * kPageTokens + p % kPageTokens;
            const f16_t* from = (value ? b.values : b.keys).data() + (int64_t{kv} * c.position + p) * c.head_dim;
            require(cudaMemcpy(static_cast<f16_t*>(pages[p / kPageTokens]) + at * c.head_dim, from, row,
                               cudaMemcpyHostToDevice));
          }
  }

  const StepProblem& problem_;
  cudaStream_t stream_;
  PagePool pages_;
  RopeOnDevice rope_;
  DeviceMemory hidden_, row_;
  DeviceModel model_;
  std::optional<TokenStep> step_;
};

class OneLaunch : public ::testing::TestWithParam<StepCase> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    if (current_gpu().capability != 90) GTEST_SKIP() << "a token in one launch needs compute capability 9.0";
    stream_ = make_stream();
  }
  Stream stream_;
};
INSTANTIATE_TEST_SUITE_P(Models, OneLaunch,
                         ::testing::Values(StepCase{"tiny", 128, 96, 4, 2, 32, 32, 5},
                                           StepCase{"first_token", 128, 192, 4, 2, 32, 64, 0},
                                           StepCase{"parts", 256, 384, 4, 1, 64, 128, 700, 0, false, false, 2, 7},
                                           StepCase{"wide_heads", 256, 512, 2, 2, 128, 64, 130},
                                           StepCase{"windowed", 128, 96, 4, 2, 32, 32, 150, 40},
                                           StepCase{"normed_bias", 128, 96, 4, 2, 32, 32, 33, 0, true, true},
                                           StepCase{"long_k", 2176, 4480, 8, 4, 16, 128, 20, 0, false, false, 1},
                                           StepCase{"one_block", 128, 96, 2, 1, 32, 32, 40, 0, false, false, 2, 1},
                                           StepCase{"idle_blocks", 128, 32, 2, 1, 32, 32, 40, 0, false, false, 3, 40}),
                         [](const auto& one) { return std::string(one.param.name); });

double distance(const std::vector<float>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(difference / size);
}

// A block rounds five results to f16, each by 2^-12.3 of itself in root mean square where it rounds to another neighbor
// than the reference did, or where p is rounded.
double bound(const StepCase& c) { return 2 * 0x1p-12 * std::sqrt(5.0 * c.layers); }

TEST_P(OneLaunch, IsTheDefinition) {
  const StepProblem problem(GetParam());
  StepOnDevice device(problem, stream_.get());
  EXPECT_LE(distance(device.run(), problem.result()), bound(GetParam()));
}

TEST_P(OneLaunch, GivesTheSameBitsEachTime) {
  const StepProblem problem(GetParam());
  StepOnDevice device(problem, stream_.get());
  const std::vector<float> first = device.run();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(device.run(), first);
}

TEST_P(OneLaunch, ComparisonSeesOneTileOfOneLinear) {
  StepProblem problem(GetParam());
  StepOnDevice device(problem, stream_.get());
  const std::vector<float> got = device.run();
  for (int i = 0; i < kStepLinears; ++i) {
    StepProblem other = problem;
    HostLinear& w = other.blocks[0].linears[static_cast<size_t>(i)];
    for (int64_t at = (w.n - kTileRows) * w.k; at < w.n * w.k; ++at) w.packed.q[at] = 15 - w.packed.q[at];  // v, or up
    EXPECT_GT(distance(got, other.result()), bound(GetParam())) << i;
  }
}

TEST(OneLaunchOf, OtherModelsIsRefused) {
  if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  if (current_gpu().capability != 90) GTEST_SKIP() << "a token in one launch needs compute capability 9.0";
  const StepProblem problem({"tiny", 128, 96, 4, 2, 32, 32, 5});
  const Stream stream = make_stream();
  const auto refused = [&](auto&& change) {
    StepProblem other = problem;
    change(other);
    try {
      StepOnDevice(other, stream.get());
      return std::string("nothing");
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
      return std::string(e.what());
    }
  };
  const auto sentence = ::testing::HasSubstr("this model has something else: use --version auto");
  EXPECT_THAT(refused([](StepProblem& p) { p.shape.head_dim = 136; }), sentence);
  EXPECT_THAT(refused([](StepProblem& p) { p.shape.sms = 1; }), sentence);
  EXPECT_THAT(refused([](StepProblem& p) {
                p.blocks[1].linears[kStepO].salient = {{0}, std::vector<f16_t>(static_cast<size_t>(p.shape.hidden))};
              }),
              sentence);
}

}  // namespace
}  // namespace awq::backend::cuda::testing
