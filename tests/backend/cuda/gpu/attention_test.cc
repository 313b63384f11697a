// Attention on the GPU against float64 from the definition: a prompt appended and attended to at once, then one token
// at a time with the context split over blocks; ragged lengths, windows, head norms, several contexts together.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backend/cuda/current_gpu.h"
#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/run/attention.h"
#include "backend/cuda/run/page_pool.h"
#include "backend/cuda/run/rope_table.h"
#include "core/half.h"

namespace awq::backend::cuda::testing {
namespace {

struct AttentionCase {
  const char* name;
  int heads, kv_heads, head_dim, window;
  std::vector<int> lengths;  // of each context, its last token appended alone
  bool head_norms = false;
};

void PrintTo(const AttentionCase& c, std::ostream* out) { *out << c.name; }

class Attention : public ::testing::TestWithParam<AttentionCase> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    stream_ = make_stream();
  }
  Stream stream_;
};
INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    ::testing::Values(AttentionCase{"llama3", 32, 8, 128, 0, {640}}, AttentionCase{"llama2", 8, 8, 128, 0, {130, 3}},
                      AttentionCase{"tiny", 4, 2, 16, 0, {48, 1, 17, 64, 65}},
                      AttentionCase{"demo", 4, 2, 64, 0, {200, 33}}, AttentionCase{"qwen7", 28, 4, 128, 0, {77}},
                      AttentionCase{"windowed", 8, 2, 64, 40, {150, 41, 40, 39}},
                      AttentionCase{"normed", 8, 4, 32, 0, {70, 5}, true}, AttentionCase{"odd_dim", 6, 2, 96, 0, {90}},
                      AttentionCase{"wide", 8, 4, 256, 0, {100, 16}}, AttentionCase{"one_kv_head", 71, 1, 64, 0, {60}},
                      AttentionCase{"long", 4, 1, 128, 0, {3000}},
                      AttentionCase{"wide_window", 20, 1, 256, 100, {300}}),
    [](const auto& one) { return std::string(one.param.name); });

constexpr float kEps = 1e-5f, kTheta = 10000;
constexpr int kLayer = 1, kLayers = 2;  // not the first, so that a wrong offset shows

std::vector<float> frequencies(int d) {
  std::vector<float> f;
  for (int i = 0; i < d; i += 2) f.push_back(static_cast<float>(std::pow(kTheta, -double(i) / d)));
  return f;
}

// Everything of one case on the host.
struct Problem {
  explicit Problem(const AttentionCase& c)
      : shape{c.heads, c.kv_heads, c.head_dim, c.window, kLayer}, lengths(c.lengths) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (const int length : lengths) {
      std::vector<f16_t>& x = qkv.emplace_back();
      for (int64_t i = 0; i < length * shape.qkv_columns(); ++i) x.push_back(f32_to_f16(normal(random)));
    }
    if (!c.head_norms) return;
    for (std::vector<float>* norm : {&q_norm, &k_norm})
      for (int i = 0; i < c.head_dim; ++i) norm->push_back(1 + 0.2f * normal(random));
  }

  // A head of row `row` of context `s`, normed and rotated, in float64.
  std::vector<double> rotated(size_t s, int row, int head, const std::vector<float>& norm) const {
    const int d = shape.head_dim;
    const f16_t* x = qkv[s].data() + row * shape.qkv_columns() + head * d;
    std::vector<double> v(static_cast<size_t>(d)), out(v.size());
    double squares = 0;
    for (int i = 0; i < d; ++i) v[i] = f16_to_f32(x[i]), squares += v[i] * v[i];
    for (int i = 0; !norm.empty() && i < d; ++i) v[i] *= norm[i] / std::sqrt(squares / d + kEps);
    const std::vector<float> f = frequencies(d);
    for (int i = 0; i < d / 2; ++i) {
      const double angle = static_cast<float>(row) * f[i], c = std::cos(angle), n = std::sin(angle);
      out[i] = v[i] * c - v[i + d / 2] * n;
      out[i + d / 2] = v[i + d / 2] * c + v[i] * n;
    }
    return out;
  }

  AttentionShape shape;
  std::vector<int> lengths;
  std::vector<std::vector<f16_t>> qkv;  // a context: (length, columns)
  std::vector<float> q_norm, k_norm;
};

struct Expected {
  double value = 0, bound = 0;
};

// One head of one row: the value, and what rounding q, k, p and the result to f16 may move it by. A score moves by at
// most 2^-10 of the sum of |q k| (both factors by 2^-11), a weight p by that relatively, and p and out by 2^-11.
std::vector<Expected> reference(const Problem& p, size_t s, int row, int head) {
  const AttentionShape& shape = p.shape;
  const int d = shape.head_dim, kv = head / shape.group(),
            first = shape.sliding_window > 0 ? std::max(0, row + 1 - shape.sliding_window) : 0;
  const std::vector<double> q = p.rotated(s, row, head, p.q_norm);
  std::vector<double> score, moved;
  for (int key = first; key <= row; ++key) {
    const std::vector<double> k = p.rotated(s, key, shape.heads + kv, p.k_norm);
    double sum = 0, terms = 0;
    for (int i = 0; i < d; ++i) sum += q[i] * k[i], terms += std::abs(q[i] * k[i]);
    score.push_back(sum / std::sqrt(d));
    moved.push_back(terms / std::sqrt(d) * 0x1p-10);
  }
  const double most = *std::max_element(score.begin(), score.end());
  double total = 0;
  for (double& v : score) total += v = std::exp(v - most);
  const double shift = *std::max_element(moved.begin(), moved.end());
  std::vector<Expected> out(static_cast<size_t>(d));
  for (int i = 0; i < d; ++i) {
    double terms = 0;
    for (int key = first; key <= row; ++key) {
      const double v = f16_to_f32(p.qkv[s][key * shape.qkv_columns() + (shape.heads + shape.kv_heads + kv) * d + i]);
      const double term = score[key - first] / total * v;
      out[i].value += term;
      terms += std::abs(term);
    }
    out[i].bound = (2 * shift + 0x1p-10) * terms + 0x1p-11 * std::abs(out[i].value) + 0x1p-24;
  }
  return out;
}

template <class T>
DeviceMemory on_device(const std::vector<T>& host) {
  return DeviceMemory(std::span<const T>(host));
}

// The same on the device: contexts in slots 1, 2, ... in reverse order, so that slot and row differ.
class OnDevice {
 public:
  OnDevice(const Problem& p, cudaStream_t stream)
      : p_(p),
        stream_(stream),
        pages_(static_cast<int>(p.lengths.size()) + 1, 4096, page_bytes(p.shape, kLayers)),
        rope_(frequencies(p.shape.head_dim), 4096),
        q_norm_(on_device(p.q_norm)),
        k_norm_(on_device(p.k_norm)) {
    const Gpu gpu = current_gpu();
    on_ = {stream, false, gpu.sms, gpu.capability >= 90, gpu.smem_per_block};
    for (size_t s = 0; s < p.lengths.size(); ++s) pages_.ensure(slot(s), p.lengths[s], stream);
    rope_.extend(*std::max_element(p.lengths.begin(), p.lengths.end()), stream);
  }
  int32_t slot(size_t s) const { return static_cast<int32_t>(p_.lengths.size() - s); }

  // Rows [0, length - 1) of every context at once; (rows, heads d) of all.
  std::vector<uint16_t> prompts() {
    std::vector<StepRow> rows;
    std::vector<Segment> segments;
    std::vector<f16_t> x;
    int longest = 0;
    for (size_t s = 0; s < p_.lengths.size(); ++s) {
      const int count = p_.lengths[s] - 1;
      if (count == 0) continue;
      segments.push_back({static_cast<int32_t>(rows.size()), count, slot(s), 0});
      longest = std::max(longest, count);
      for (int i = 0; i < count; ++i) rows.push_back({0, slot(s), i});
      x.insert(x.end(), p_.qkv[s].begin(), p_.qkv[s].begin() + count * p_.shape.qkv_columns());
    }
    if (rows.empty()) return {};
    const DeviceMemory device_rows = on_device(rows), device_segments = on_device(segments), qkv = on_device(x);
    DeviceMemory out(rows.size() * p_.shape.heads * p_.shape.head_dim * 2);
    const AttentionArgs a = args(qkv, out, device_rows, static_cast<int64_t>(rows.size()));
    require(launch_append(a, on_));
    require(launch_attend_many(a, static_cast<const Segment*>(device_segments.data()),
                               static_cast<int>(segments.size()), longest, on_));
    require(cudaStreamSynchronize(stream_));
    EXPECT_TRUE(out.guards_intact() && qkv.guards_intact());
    return out.download<uint16_t>();
  }

  // The last row of every context; (contexts, heads d).
  std::vector<uint16_t> last_rows(int splits) {
    std::vector<StepRow> rows;
    std::vector<f16_t> x;
    for (size_t s = 0; s < p_.lengths.size(); ++s) {
      rows.push_back({0, slot(s), p_.lengths[s] - 1});
      x.insert(x.end(), p_.qkv[s].end() - p_.shape.qkv_columns(), p_.qkv[s].end());
    }
    rows.push_back({});  // fills up the batch
    x.resize(x.size() + static_cast<size_t>(p_.shape.qkv_columns()));
    const auto m = static_cast<int64_t>(rows.size());
    const DeviceMemory device_rows = on_device(rows), qkv = on_device(x);
    DeviceMemory out(rows.size() * p_.shape.heads * p_.shape.head_dim * 2);
    DeviceMemory partials(static_cast<size_t>(split_floats(p_.shape, m, splits)) * 4);
    const DeviceMemory tickets = on_device(std::vector<int32_t>(static_cast<size_t>(split_tickets(p_.shape, m))));
    require(launch_attend_one(args(qkv, out, device_rows, m), splits,
                              {static_cast<float*>(partials.data()), static_cast<int32_t*>(tickets.data())}, on_));
    require(cudaStreamSynchronize(stream_));
    EXPECT_TRUE(out.guards_intact() && partials.guards_intact() && tickets.guards_intact());
    for (const int32_t ticket : tickets.download<int32_t>()) EXPECT_EQ(ticket, 0);
    std::vector<uint16_t> all = out.download<uint16_t>();
    const size_t row = all.size() / rows.size();
    for (size_t i = all.size() - row; i < all.size(); ++i)
      EXPECT_EQ(all[i], 0xffff) << "a row without a context was written";
    all.resize(all.size() - row);
    return all;
  }

  // Two steps of the last rows after each other, captured: whether the second may start early.
  int captured_overlap() {
    const std::vector<StepRow> rows = {{0, slot(0), p_.lengths[0] - 1}};
    const DeviceMemory device_rows = on_device(rows), qkv = on_device(p_.qkv[0]);
    const DeviceMemory out(static_cast<size_t>(p_.shape.heads * p_.shape.head_dim) * 2);
    const DeviceMemory partials(static_cast<size_t>(split_floats(p_.shape, 1, splits())) * 4);
    const DeviceMemory tickets = on_device(std::vector<int32_t>(static_cast<size_t>(split_tickets(p_.shape, 1))));
    LaunchTarget on = on_;
    on.overlap = true;
    return captured_overlaps(stream_, [&] {
      for (int step = 0; step < 2; ++step)
        require(launch_attend_one(args(qkv, out, device_rows, 1), splits(),
                                  {static_cast<float*>(partials.data()), static_cast<int32_t*>(tickets.data())}, on));
    });
  }
  // Keys, then values, of the last token of a context as they lie in the cache.
  std::vector<uint16_t> newest(size_t s) const {
    std::vector<uint16_t> out;
    for (uint16_t* const head : newest_heads(s)) {
      const size_t at = out.size();
      out.resize(at + static_cast<size_t>(p_.shape.head_dim));
      require(cudaMemcpy(out.data() + at, head, static_cast<size_t>(p_.shape.head_dim) * 2, cudaMemcpyDeviceToHost));
    }
    return out;
  }
  // The same after launch_append has written them.
  std::vector<uint16_t> appended(size_t s) {
    for (uint16_t* const head : newest_heads(s))
      require(cudaMemset(head, 0xff, static_cast<size_t>(p_.shape.head_dim) * 2));
    const DeviceMemory row = on_device(std::vector<StepRow>{{0, slot(s), p_.lengths[s] - 1}});
    const DeviceMemory qkv = on_device(std::vector<f16_t>(p_.qkv[s].end() - p_.shape.qkv_columns(), p_.qkv[s].end()));
    require(launch_append(args(qkv, qkv, row, 1), on_));
    require(cudaStreamSynchronize(stream_));
    return newest(s);
  }
  bool has_clusters() const { return on_.clusters; }
  // As on 8.6, whose shared memory has room for fewer keys at a time.
  void leave_out_clusters() { on_.clusters = false, on_.smem_per_block = std::min(on_.smem_per_block, 99 << 10); }
  int splits() const { return attention_splits(p_.shape, static_cast<int64_t>(p_.lengths.size()) + 1, on_.sms); }

 private:
  std::vector<uint16_t*> newest_heads(size_t s) const {
    const int last = p_.lengths[s] - 1, d = p_.shape.head_dim;
    const PageTable table = pages_.table();
    uint16_t* page = nullptr;
    require(cudaMemcpy(&page, table.pages + slot(s) * table.pages_a_slot + last / kPageTokens, sizeof(page),
                       cudaMemcpyDeviceToHost));
    std::vector<uint16_t*> heads;
    for (int kv = 0; kv < 2 * p_.shape.kv_heads; ++kv)
      heads.push_back(
          page + (static_cast<int64_t>(2 * kLayer * p_.shape.kv_heads + kv) * kPageTokens + last % kPageTokens) * d);
    return heads;
  }
  AttentionArgs args(const DeviceMemory& qkv, const DeviceMemory& out, const DeviceMemory& rows, int64_t m) const {
    const auto norm = [](const DeviceMemory& n) {
      return n.bytes() == 0 ? nullptr : static_cast<const float*>(n.data());
    };
    return {.shape = p_.shape,
            .qkv = static_cast<__half*>(qkv.data()),
            .out = static_cast<__half*>(out.data()),
            .rows = static_cast<const StepRow*>(rows.data()),
            .m = m,
            .pages = pages_.table(),
            .rope = rope_.data(),
            .q_norm = norm(q_norm_),
            .k_norm = norm(k_norm_),
            .norm_eps = kEps};
  }

  const Problem& p_;
  cudaStream_t stream_;
  PagePool pages_;
  RopeOnDevice rope_;
  DeviceMemory q_norm_, k_norm_;
  LaunchTarget on_;
};

// Compares one row of one context; only some rows and heads of a long prompt, float64 being slow.
void expect_row(const Problem& p, size_t s, int row, const uint16_t* got) {
  const int d = p.shape.head_dim, step = std::max(1, p.shape.heads / 5);
  for (int head = row % step; head < p.shape.heads; head += step) {
    const std::vector<Expected> want = reference(p, s, row, head);
    for (int i = 0; i < d; ++i)
      ASSERT_NEAR(f16_to_f32(got[head * d + i]), want[i].value, want[i].bound)
          << "context " << s << ", row " << row << ", head " << head << ", feature " << i;
  }
}

TEST_P(Attention, OfAPromptIsTheDefinition) {
  const Problem p(GetParam());
  OnDevice device(p, stream_.get());
  const std::vector<uint16_t> got = device.prompts();
  size_t at = 0;
  for (size_t s = 0; s < p.lengths.size(); ++s) {
    const int count = p.lengths[s] - 1, step = std::max(1, count / 12);
    for (int row = 0; row < count; row += step)
      expect_row(p, s, row, got.data() + (at + row) * p.shape.heads * p.shape.head_dim);
    if (count > 0) expect_row(p, s, count - 1, got.data() + (at + count - 1) * p.shape.heads * p.shape.head_dim);
    at += static_cast<size_t>(count);
  }
}

TEST_P(Attention, OfOneTokenIsTheDefinitionForEverySplit) {
  const Problem p(GetParam());
  const OnDevice any(p, stream_.get());
  for (const bool clusters : {false, true}) {
    if (clusters && !any.has_clusters()) continue;
    for (const int splits : {1, 2, 3, 4, 8, any.splits(), 64}) {
      OnDevice device(p, stream_.get());
      if (!clusters) device.leave_out_clusters();
      device.prompts();
      const std::vector<uint16_t> got = device.last_rows(splits);
      SCOPED_TRACE(std::to_string(splits) + " splits" + (clusters ? " in clusters" : ""));
      for (size_t s = 0; s < p.lengths.size(); ++s)
        expect_row(p, s, p.lengths[s] - 1, got.data() + s * p.shape.heads * p.shape.head_dim);
    }
  }
}

// The key and value that the step appended are those that a prompt of the same tokens appends.
TEST_P(Attention, OfOneTokenLeavesItsKeyAndValue) {
  const Problem p(GetParam());
  OnDevice device(p, stream_.get());
  device.prompts();
  const std::vector<uint16_t> once = device.last_rows(device.splits());
  EXPECT_EQ(device.last_rows(device.splits()), once) << "appending the same token again changed what it attends to";
  for (size_t s = 0; s < p.lengths.size(); ++s) EXPECT_EQ(device.newest(s), device.appended(s)) << "context " << s;
}

TEST_P(Attention, CapturedLaunchesMayStartEarly) {
  const Problem p(GetParam());
  OnDevice device(p, stream_.get());
  if (!device.has_clusters()) GTEST_SKIP() << "no programmatic launches before 9.0";
  EXPECT_EQ(device.captured_overlap(), 1);
}

TEST_P(Attention, OfOneTokenGivesTheSameBitsEachTime) {
  const Problem p(GetParam());
  OnDevice device(p, stream_.get());
  device.prompts();
  const std::vector<uint16_t> once = device.last_rows(device.splits());
  for (int run = 0; run < 5; ++run) EXPECT_EQ(device.last_rows(device.splits()), once);
}

}  // namespace
}  // namespace awq::backend::cuda::testing
