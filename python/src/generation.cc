#include "generation.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "long_call.h"
#include "module.h"
#include "poll.h"

namespace awq::python {

Generation::Generation(const Model& model, std::vector<int32_t> prompt, SamplingOptions options, bool texts)
    : model_(model), thread_(thread_without_signals([this, prompt = std::move(prompt), options, texts] {
        work(prompt, options, texts);
      })) {}

Generation::~Generation() {
  stop_ = 1;
  const nb::gil_scoped_release released;
  thread_.join();
}

void Generation::work(std::vector<int32_t> prompt, SamplingOptions options, bool texts) {
  options.on_token = [this](int32_t id) {
    const std::lock_guard lock(mutex_);
    ids_.push_back(id);
  };
  const auto on_text = [this](std::string_view piece) {
    const std::lock_guard lock(mutex_);
    pieces_.emplace_back(piece);
    changed_.notify_all();
  };
  std::exception_ptr failure;
  GenerateTiming timing;
  try {
    model_.generate(prompt, options, texts ? on_text : std::function<void(std::string_view)>(), &timing, &stop_);
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  timing_ = timing;
  failure_ = failure;
  done_ = true;
  changed_.notify_all();
}

// Until there are more than `pieces_seen` pieces or all is done: true when done.
bool Generation::wait_until_changed(size_t pieces_seen) {
  for (;;) {
    {
      const nb::gil_scoped_release released;
      std::unique_lock lock(mutex_);
      const auto changed = [&] { return done_ || pieces_.size() > pieces_seen; };
      if (changed_.wait_for(lock, kPoll, changed)) return done_;
    }
    try {
      check_signals();
    } catch (...) {
      stop_ = 1;
      throw;
    }
  }
}

std::optional<std::string> Generation::next() {
  wait_until_changed(taken_);
  const std::lock_guard lock(mutex_);
  if (taken_ < pieces_.size()) return pieces_[taken_++];
  if (failure_) std::rethrow_exception(failure_);
  return std::nullopt;
}

std::vector<int32_t> Generation::wait() {
  while (!wait_until_changed(static_cast<size_t>(-1))) {
  }
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  return ids_;
}

std::string Generation::text() {
  wait();
  const std::lock_guard lock(mutex_);
  return fmt::format("{}", fmt::join(pieces_, ""));
}

std::vector<int32_t> Generation::ids() const {
  const std::lock_guard lock(mutex_);
  return ids_;
}

GenerateTiming Generation::timing() {
  wait();
  const std::lock_guard lock(mutex_);
  return timing_;
}

void bind_generation(nb::module_& m) {
  nb::class_<GenerateTiming>(m, "GenerateTiming", "How long a generation took.")
      .def_ro("prompt_tokens", &GenerateTiming::prompt_tokens)
      .def_ro("new_tokens", &GenerateTiming::new_tokens)
      .def_ro("first_token_seconds", &GenerateTiming::first_token_seconds, "the prompt and the first token")
      .def_ro("token_seconds", &GenerateTiming::token_seconds, "one number for each further token");
  nb::class_<Generation>(
      m, "Generation",
      "Text that is being made: iterate over its pieces as they come, or ask for all of it. It is made on a thread "
      "of its own from the moment it is asked for; deleting the object stops it.")
      .def(
          "__iter__", [](nb::handle self) { return nb::borrow(self); }, nb::sig("def __iter__(self) -> Generation"))
      .def("__next__",
           [](Generation& g) {
             if (std::optional<std::string> piece = g.next()) return *piece;
             throw nb::stop_iteration();
           })
      .def_prop_ro("text", &Generation::text, "all of the new text; waits for its end")
      .def_prop_ro("token_ids", &Generation::wait, "all new token ids, the end token included; waits for the end")
      .def_prop_ro("token_ids_so_far", &Generation::ids, "the new token ids there are by now; does not wait")
      .def_prop_ro("timing", &Generation::timing, "a GenerateTiming; waits for the end")
      .def("stop", &Generation::stop, "Ends it after the token at hand.")
      .def("__str__", &Generation::text);
}

}  // namespace awq::python
