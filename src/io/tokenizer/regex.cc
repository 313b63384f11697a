#define PCRE2_CODE_UNIT_WIDTH 8
#include "io/tokenizer/regex.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <limits>
#include <new>
#include <utility>

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

// A published pattern is below 1 KB; compiling one of 1 MB would take seconds.
constexpr size_t kMaxPatternBytes = 16384;
// Per byte of text and per text. Published patterns take 5 to 20 steps a byte.
constexpr uint64_t kStepsPerByte = 128, kStepsPerText = 1000000;
constexpr size_t kStackStart = 32 << 10, kStackLimit = 64 << 20;  // bytes

template <auto kFree>
struct FreeWith {
  void operator()(auto* p) const { kFree(p); }
};
using CompileContext = std::unique_ptr<pcre2_compile_context, FreeWith<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, FreeWith<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, FreeWith<pcre2_match_data_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, FreeWith<pcre2_jit_stack_free>>;

template <class T>
T* allocated(T* p) {
  return p ? p : throw std::bad_alloc();
}

// What one text may cost. PCRE2's own match limit counts anew from each start, so a pattern that fails slowly
// everywhere passes under it; a time limit would make the outcome depend on the machine.
struct Budget {
  uint64_t steps;
  size_t position = 0;
};

// Called before each item of the pattern that is tried: a step, and one for each byte passed since the last one.
int charge(pcre2_callout_block* at, void* data) {
  Budget& budget = *static_cast<Budget*>(data);
  const size_t from = std::exchange(budget.position, at->current_position);
  const uint64_t cost = 1 + (from < budget.position ? budget.position - from : from - budget.position);
  if (cost > budget.steps) return PCRE2_ERROR_MATCHLIMIT;
  budget.steps -= cost;
  return 0;
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

void Regex::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Regex::Regex(Regex&&) noexcept = default;
Regex::~Regex() = default;

Regex::Regex(std::string_view ruby_pattern) : pattern_(ruby_pattern) {
  if (pattern_.size() > kMaxPatternBytes) {
    refuse(fmt::format("a regular expression of {} bytes is longer than the {} that are allowed", pattern_.size(),
                       kMaxPatternBytes));
  }
  const std::string translated = translate_to_pcre2(ruby_pattern);
  const CompileContext context(allocated(pcre2_compile_context_create(nullptr)));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT,
                            &error, &offset, context.get()));
  if (!code_) refuse(fmt::format("the regular expression {} is invalid: {}", printable(pattern_), message_of(error)));
  // Without this (no executable memory, say) the interpreter runs the same pattern, so a failure changes nothing.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

void Regex::find_all(std::string_view text, const std::function<void(size_t, size_t)>& on_match) const {
  const MatchContext context(allocated(pcre2_match_context_create(nullptr)));
  const JitStack stack(pcre2_jit_stack_create(kStackStart, kStackLimit, nullptr));
  const MatchData data(allocated(pcre2_match_data_create_from_pattern(code_.get(), nullptr)));
  Budget budget{kStepsPerText + kStepsPerByte * text.size()};
  pcre2_set_callout(context.get(), charge, &budget);
  pcre2_set_match_limit(context.get(), std::numeric_limits<uint32_t>::max());
  pcre2_set_heap_limit(context.get(), kStackLimit >> 10);  // the interpreter's stack, in KiB
  pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  size_t last_end = text.size() + 1;  // no match yet
  for (size_t from = 0; from <= text.size();) {
    const int rc = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                               PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      refuse(fmt::format("the regular expression {} cannot be applied to this text: {}", printable(pattern_),
                         message_of(rc)));
    }
    const PCRE2_SIZE* match = pcre2_get_ovector_pointer(data.get());
    const size_t begin = match[0], end = match[1];
    if (begin >= end && end == last_end) {  // no empty match behind another one; go on one character later
      from = end == text.size() ? end + 1 : end + static_cast<size_t>(utf8_length(text[end]));
      continue;
    }
    on_match(begin, end);
    from = last_end = end;
  }
}

}  // namespace awq::io
