// What a run did when, on each of its threads: sums for the report, and a file that chrome://tracing and Perfetto open.
#pragma once
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "awq/quantize.h"

namespace awq::quant {

class Timeline {
 public:
  // kOuter: tensors outside the blocks. kCalibrate: what "calibrate" of kCompute consists of, as the engine tells it.
  enum Track { kRead, kCompute, kWrite, kOuter, kCalibrate };

  // Ends its span when it is destroyed.
  class Span {
   public:
    Span(Timeline& timeline, Track track, std::string_view stage, int64_t block);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    Timeline& timeline_;
    const size_t index_;
  };
  Span span(Track track, std::string_view stage, int64_t block) { return {*this, track, stage, block}; }

  void add(Track, std::string_view stage, int64_t block, double begin, double end);  // seconds since the beginning

  double seconds() const;                    // since the beginning
  std::vector<StageSeconds> stages() const;  // by track, in the order of their first spans
  std::string chrome_trace() const;

 private:
  struct Entry {
    Track track;
    std::string stage;
    int64_t block;
    double begin, end;  // seconds
  };
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace awq::quant
