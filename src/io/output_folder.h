// A folder that appears under its final name only when it is complete: assembled beside it, renamed once.
//
//   parent/.NAME.partial-PID   while it is written; its flock tells a living writer from what a killed one left behind
//   parent/NAME                after commit()
#pragma once
#include <filesystem>

namespace awq::io {

class OutputFolder {
 public:
  // Checks everything that can be checked before work begins, then creates the partial folder.
  // Error(kUsage) when the output is the input folder, lies inside it, or contains it (by identity, not by name); when
  // the parent is missing. Error(kExists) when there is something under the final name: an empty folder is taken, a
  // checkpoint only with `force`, anything else never. `input` may be empty. Partial folders of dead processes are
  // removed.
  OutputFolder(const std::filesystem::path& final_path, const std::filesystem::path& input, bool force);
  ~OutputFolder();  // without commit(): the partial folder is removed
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return partial_; }  // write here
  const std::filesystem::path& final_path() const { return final_; }

  // Makes the content durable and renames. With `force` the old folder is swapped out in the same step and then
  // removed.
  void commit();

 private:
  std::filesystem::path final_, partial_;
  int lock_ = -1;  // descriptor of the partial folder, holds its flock
  bool force_ = false, committed_ = false;
};

// The checks alone, for a dry run: throws what the constructor would throw, creates and removes nothing.
void check_output_folder(const std::filesystem::path& final_path, const std::filesystem::path& input, bool force);

}  // namespace awq::io
