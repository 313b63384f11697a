// Which stage the device was in when: marks on a stream, read after it has come to its end.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda::quant {

class StageMarks {
 public:
  void clear() { stages_.clear(); }

  // What is launched next is of this stage; the stage before ends. "" ends the last one. Names outlive the marks.
  void begin(std::string_view stage, cudaStream_t stream) {
    if (events_.size() == stages_.size()) events_.push_back(make_event());
    check_cuda(cudaEventRecord(events_[stages_.size()].get(), stream), "timing a stage");
    stages_.push_back(stage);
  }

  // In seconds since the first mark; the stream has passed all of them.
  void tell(const std::function<void(std::string_view stage, double begin, double end)>& to) const {
    for (size_t i = 0; i + 1 < stages_.size(); ++i) to(stages_[i], seconds(i), seconds(i + 1));
  }

 private:
  double seconds(size_t mark) const {
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, events_[0].get(), events_[mark].get()), "timing a stage");
    return ms * 1e-3;
  }
  std::vector<Event> events_;  // used again
  std::vector<std::string_view> stages_;
};

}  // namespace awq::backend::cuda::quant
