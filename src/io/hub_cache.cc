// resolve_model: a folder, or a repository in the local Hugging Face cache.
//
//   $HF_HUB_CACHE | $HF_HOME/hub | $XDG_CACHE_HOME/huggingface/hub | ~/.cache/huggingface/hub
//     models--org--name/refs/<revision>          holds a commit, 40 hex digits
//     models--org--name/snapshots/<commit>/...   the files, often symlinks to ../../blobs/<hash>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "awq/error.h"
#include "io/checkpoint.h"
#include "io/escape.h"

namespace awq::io {
namespace fs = std::filesystem;
namespace {

struct HubId {
  std::string repo, revision;
};

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

// One half of org/name by huggingface_hub's rule: word characters, '-' and '.', a word character at both ends.
bool valid_part(std::string_view part) {
  return !part.empty() && part.size() <= 96 && is_word(part.front()) && is_word(part.back()) &&
         std::all_of(part.begin(), part.end(), [](char c) { return is_word(c) || c == '-' || c == '.'; });
}

bool valid_repo(std::string_view repo) {
  if (repo.find("--") != repo.npos || repo.find("..") != repo.npos || repo.ends_with(".git")) return false;
  const size_t slash = repo.find('/');
  if (slash == repo.npos) return valid_part(repo);
  return valid_part(repo.substr(0, slash)) && valid_part(repo.substr(slash + 1));
}

// A revision becomes a path below refs/, so it may not climb out of it.
bool valid_revision(std::string_view revision) {
  return !revision.empty() && revision.size() <= 255 && is_word(revision.front()) &&
         revision.find("..") == revision.npos && std::all_of(revision.begin(), revision.end(), [](char c) {
           return is_word(c) || c == '-' || c == '.' || c == '/';
         });
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  const std::string text = value;
  const char* home = std::getenv("HOME");
  return text.starts_with("~/") && home ? home + text.substr(1) : text;
}

fs::path hub_cache() {
  if (const auto cache = environment("HF_HUB_CACHE")) return *cache;
  if (const auto cache = environment("HUGGINGFACE_HUB_CACHE")) return *cache;  // its deprecated name
  if (const auto home = environment("HF_HOME")) return fs::path(*home) / "hub";
  if (const auto xdg = environment("XDG_CACHE_HOME")) return fs::path(*xdg) / "huggingface" / "hub";
  return fs::path(environment("HOME").value_or("/")) / ".cache" / "huggingface" / "hub";
}

HubId parse_id(std::string_view model) {
  if (model.starts_with("hf://")) model.remove_prefix(5);
  const size_t at = model.find('@');
  HubId id{std::string(model.substr(0, at)), at == model.npos ? "main" : std::string(model.substr(at + 1))};
  if (!valid_repo(id.repo))
    throw Error(ErrorKind::kBadInput,
                fmt::format("{} is neither a folder nor a Hugging Face id (org/name)", printable(model)));
  if (!valid_revision(id.revision))
    throw Error(ErrorKind::kBadInput, fmt::format("{} is not a revision: give a branch, a tag or a commit of {}",
                                                  printable(id.revision), id.repo));
  return id;
}

[[noreturn]] void not_cached(const HubId& id, const fs::path& cache, const std::string& why) {
  const std::string revision = id.revision == "main" ? "" : " --revision " + id.revision;
  throw Error(
      ErrorKind::kBadInput,
      fmt::format("{} is not a folder here and {} in the Hugging Face cache {}; download it with: hf download {}{}",
                  id.repo, why, printable(cache.native()), id.repo, revision));
}

std::string commit_of(const HubId& id, const fs::path& repo, const fs::path& cache) {
  if (is_commit(id.revision)) return id.revision;
  const fs::path ref = repo / "refs" / id.revision;
  std::error_code ignored;
  if (!fs::is_regular_file(ref, ignored))
    not_cached(id, cache, fmt::format("has no revision {}", printable(id.revision)));
  std::string commit = read_file(ref, 1024);
  commit.erase(commit.find_last_not_of(" \r\n") + 1);
  if (!is_commit(commit)) not_cached(id, cache, fmt::format("has a damaged reference {}", printable(ref.native())));
  return commit;
}

}  // namespace

fs::path resolve_model(const std::string& model) {
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) return model;
  if (fs::exists(model, ignored))
    throw Error(ErrorKind::kBadInput,
                printable(model) + " is a file; give the folder that holds config.json and *.safetensors");
  const HubId id = parse_id(model);
  const fs::path cache = hub_cache();
  std::string name = "models--" + id.repo;
  if (const size_t slash = name.find('/'); slash != name.npos) name.replace(slash, 1, "--");
  const fs::path repo = cache / name;
  if (!fs::is_directory(repo, ignored)) not_cached(id, cache, "is not");
  const fs::path snapshot = repo / "snapshots" / commit_of(id, repo, cache);
  if (!fs::exists(snapshot / "config.json", ignored)) not_cached(id, cache, "is only partly");
  return snapshot;
}

}  // namespace awq::io
