// Text that is being made on a thread of its own, for Python to iterate over.
#pragma once
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "awq/model.h"

namespace awq::python {

class Generation {
 public:
  // Begins at once. `model` must live longer. `texts`: false for a model without tokenizer, which gives token ids
  // alone.
  Generation(const Model& model, std::vector<int32_t> prompt, SamplingOptions, bool texts);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // The next piece of text, when there is one; nothing when the text has ended. Needs the GIL, which is free meanwhile;
  // Ctrl-C stops the generation and is raised.
  std::optional<std::string> next();
  std::string text();                // all of it, once it has ended
  std::vector<int32_t> wait();       // all new token ids, once it has ended
  std::vector<int32_t> ids() const;  // those so far
  GenerateTiming timing();           // once it has ended
  void stop() { stop_ = 1; }

 private:
  void work(std::vector<int32_t> prompt, SamplingOptions, bool texts);
  bool wait_until_changed(size_t pieces_seen);

  const Model& model_;
  std::atomic<int> stop_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::string> pieces_;
  std::vector<int32_t> ids_;
  GenerateTiming timing_;
  std::exception_ptr failure_;
  bool done_ = false;
  size_t taken_ = 0;  // pieces given out by next(); Python's thread alone
  std::thread thread_;
};

}  // namespace awq::python
