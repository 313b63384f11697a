#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cli/args.h"
#include "cli/numbers.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

constexpr std::array kStyles = {
    Choice<ProgressStyle>{"auto", ProgressStyle::kAuto},   Choice<ProgressStyle>{"tty", ProgressStyle::kTerminal},
    Choice<ProgressStyle>{"plain", ProgressStyle::kPlain}, Choice<ProgressStyle>{"json", ProgressStyle::kJson},
    Choice<ProgressStyle>{"none", ProgressStyle::kNone},
};
constexpr auto kRedrawEvery = std::chrono::milliseconds(100);
constexpr int kBarCells = 24;

ProgressStyle automatic() {
  const char* hf = std::getenv("HF_HUB_DISABLE_PROGRESS_BARS");
  return stderr_is_terminal() && (hf == nullptr || *hf == '\0') ? ProgressStyle::kTerminal : ProgressStyle::kPlain;
}

std::string times(const ProgressStep& step) {
  std::string text = human_seconds(step.seconds);
  if (step.eta_seconds >= 0) text += fmt::format(", {} left", human_seconds(step.eta_seconds));
  return text;
}

std::string bar_line(const ProgressStep& step) {
  const int filled = step.total > 0 ? std::min(kBarCells, kBarCells * step.done / step.total) : 0;
  return fmt::format("[{:#<{}}{:.<{}}] {}/{} {}  {}", "", filled, "", kBarCells - filled, step.done, step.total,
                     step.stage, times(step));
}

void event_line(const ProgressStep& step) {
  nlohmann::ordered_json event = {{"event", "progress"},
                                  {"stage", step.stage},
                                  {"done", step.done},
                                  {"total", step.total},
                                  {"seconds", step.seconds}};
  if (step.eta_seconds >= 0) event["eta_seconds"] = step.eta_seconds;
  if (!step.note.empty()) event["note"] = step.note;
  const std::string line = event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

void add_progress_option(Args& args, ProgressStyle& style) {
  args.choice("--progress", style, std::span<const Choice<ProgressStyle>>(kStyles),
              "bar on a terminal and a line a step elsewhere, or one of them always");
}

Progress::Progress(ProgressStyle style, bool quiet)
    : style_(quiet                           ? ProgressStyle::kNone
             : style == ProgressStyle::kAuto ? automatic()
                                             : style) {}

Progress::~Progress() { draw_status(""); }

void Progress::show(const ProgressStep& step) {
  if (style_ == ProgressStyle::kNone) return;
  if (style_ == ProgressStyle::kJson) return event_line(step);
  if (!step.note.empty()) note(step.note);
  if (style_ == ProgressStyle::kPlain) {
    std::string mark = step.total > 0 ? fmt::format("{}/{}", step.done, step.total) : std::string(step.stage);
    if (mark != last_mark_) note(fmt::format("{} {}  {}", step.stage, step.total > 0 ? mark : "", times(step)));
    last_mark_ = std::move(mark);
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - last_draw_ < kRedrawEvery && step.done != step.total) return;
  last_draw_ = now;
  draw_status(bar_line(step));
}

}  // namespace awq::cli
