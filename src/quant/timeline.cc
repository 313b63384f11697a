#include "quant/timeline.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace awq::quant {
namespace {

constexpr const char* kTracks[] = {"read", "compute", "write", "outer", "calibrate"};

}  // namespace

Timeline::Span::Span(Timeline& timeline, Track track, std::string_view stage, int64_t block)
    : timeline_(timeline), index_([&] {
        const double now = timeline.seconds();
        const std::lock_guard lock(timeline.mutex_);
        timeline.entries_.push_back({track, std::string(stage), block, now, now});
        return timeline.entries_.size() - 1;
      }()) {}

Timeline::Span::~Span() {
  const double now = timeline_.seconds();
  const std::lock_guard lock(timeline_.mutex_);
  timeline_.entries_[index_].end = now;
}

void Timeline::add(Track track, std::string_view stage, int64_t block, double begin, double end) {
  const std::lock_guard lock(mutex_);
  entries_.push_back({track, std::string(stage), block, begin, end});
}

double Timeline::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

std::vector<StageSeconds> Timeline::stages() const {
  const std::lock_guard lock(mutex_);
  std::vector<StageSeconds> stages;
  for (size_t track = 0; track < std::size(kTracks); ++track)
    for (const Entry& e : entries_) {
      if (e.track != static_cast<Track>(track)) continue;
      const auto same = [&](const StageSeconds& s) { return s.track == kTracks[track] && s.stage == e.stage; };
      auto found = std::ranges::find_if(stages, same);
      if (found == stages.end()) found = stages.insert(stages.end(), {kTracks[track], e.stage, 0});
      found->seconds += e.end - e.begin;
    }
  return stages;
}

// The trace event format: complete events ("X") in microseconds, and a name for each thread.
std::string Timeline::chrome_trace() const {
  const std::lock_guard lock(mutex_);
  nlohmann::ordered_json events = nlohmann::ordered_json::array();
  for (int track = 0; track < static_cast<int>(std::size(kTracks)); ++track)
    events.push_back(
        {{"name", "thread_name"}, {"ph", "M"}, {"pid", 1}, {"tid", track}, {"args", {{"name", kTracks[track]}}}});
  for (const Entry& e : entries_)
    events.push_back({{"name", e.stage},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", static_cast<int>(e.track)},
                      {"ts", e.begin * 1e6},
                      {"dur", (e.end - e.begin) * 1e6},
                      {"args", {{"block", e.block}}}});
  return nlohmann::ordered_json{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}}.dump() + "\n";
}

}  // namespace awq::quant
