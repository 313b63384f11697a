#include "onednn_bf16.h"

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "core/checked.h"

namespace awq::bench {
namespace {

using dnnl::memory;

memory::desc matrix(int64_t rows, int64_t cols, memory::data_type type, memory::format_tag order) {
  return {{rows, cols}, type, order};
}

}  // namespace

struct OnednnBf16::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul product;
  memory x, y;
  std::vector<memory> weights;

  // `data` in `order`, converted and ordered as `wanted` says.
  memory reordered(const float* data, memory::format_tag order, const memory::desc& wanted) {
    const memory::desc plain = matrix(wanted.dims()[0], wanted.dims()[1], memory::data_type::f32, order);
    memory from(plain, engine, const_cast<float*>(data)), to(wanted, engine);
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
    return to;
  }
};

OnednnBf16::OnednnBf16(MatrixView<const float> x, MatrixView<const float> w, MatrixView<float> y, int copies)
    : impl_(std::make_unique<Impl>()) {
  using Type = memory::data_type;
  using Order = memory::format_tag;
  AWQ_ASSERT(x.stride == x.cols && w.stride == w.cols && y.stride == y.cols && x.cols == w.cols);
  const auto y_desc = matrix(y.rows, y.cols, Type::f32, Order::ab);
  const dnnl::matmul::primitive_desc chosen(
      {matrix(x.rows, x.cols, Type::bf16, Order::ab), matrix(w.cols, w.rows, Type::bf16, Order::any), y_desc},
      impl_->engine);
  impl_->product = dnnl::matmul(chosen);
  impl_->x = impl_->reordered(x.data, Order::ab, chosen.src_desc());
  impl_->y = memory(y_desc, impl_->engine, y.data);
  impl_->weights.push_back(impl_->reordered(w.data, Order::ba, chosen.weights_desc()));
  for (int i = 1; i < copies; ++i) {
    impl_->weights.emplace_back(chosen.weights_desc(), impl_->engine);
    std::memcpy(impl_->weights.back().get_data_handle(), impl_->weights[0].get_data_handle(),
                chosen.weights_desc().get_size());
  }
}
OnednnBf16::~OnednnBf16() = default;

void OnednnBf16::run(int copy) {
  impl_->product.execute(impl_->stream, {{DNNL_ARG_SRC, impl_->x},
                                         {DNNL_ARG_WEIGHTS, impl_->weights[static_cast<size_t>(copy)]},
                                         {DNNL_ARG_DST, impl_->y}});
  impl_->stream.wait();
}

}  // namespace awq::bench
