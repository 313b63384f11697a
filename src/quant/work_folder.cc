#include "quant/work_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <future>
#include <nlohmann/json.hpp>
#include <set>

#include "awq/error.h"
#include "io/file.h"
#include "model/architectures.h"

namespace awq::quant {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr const char *kRecords = "blocks", *kShards = "shards";
constexpr uint64_t kMaxJson = uint64_t{64} << 20;

std::string differing_keys(const json& before, const json& now) {
  std::set<std::string> keys;
  for (const auto& [key, value] : before.items()) keys.insert(key);
  for (const auto& [key, value] : now.items()) keys.insert(key);
  std::string text;
  for (const std::string& key : keys)
    if (before.value(key, json()) != now.value(key, json()))
      text +=
          fmt::format("\n  {}: was {}, is {}", key, before.value(key, json()).dump(), now.value(key, json()).dump());
  return text;
}

// JSON has no infinity; a loss that is not finite is stored as null.
json number(double x) { return std::isfinite(x) ? json(x) : json(nullptr); }

json to_json(const LinearReport& r) {
  return {{"name", r.name},     {"rtn_loss", number(r.rtn_loss)},   {"loss", number(r.loss)},
          {"chosen", r.chosen}, {"dead_channels", r.dead_channels}, {"warning", r.warning}};
}

LinearReport report_from(const json& j) {
  const auto loss = [&](const char* key) { return j.at(key).is_null() ? NAN : j.at(key).get<double>(); };
  return {j.at("name"), loss("rtn_loss"), loss("loss"), j.at("chosen"), j.at("dead_channels"), j.at("warning")};
}

bool has_finished_block(const fs::path& blocks) {
  for (const auto& entry : fs::directory_iterator(blocks))
    if (entry.path().extension() == ".json") return true;
  return false;
}

std::vector<std::byte> as_f16(const backend::FloatTensor& t, const std::string& name) {
  std::vector<std::byte> bytes(t.data.size() * 2);
  for (size_t i = 0; i < t.data.size(); ++i) {
    const f16_t h = f32_to_f16(t.data[i]);
    if (!std::isfinite(f16_to_f32(h)))
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{}[{}] = {} does not fit fp16 (largest 65504)", name, i, t.data[i]));
    std::memcpy(bytes.data() + 2 * i, &h, 2);
  }
  return bytes;
}

}  // namespace

FileLock::FileLock(const fs::path& file, const fs::path& folder) {
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0)
    throw Error(ErrorKind::kFailure, fmt::format("cannot open '{}': {}", file.string(), std::strerror(errno)));
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) {
    const std::string who = fmt::format("pid {}\n", ::getpid());
    if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, who.data(), who.size(), 0) < 0) return;  // only for the message below
    return;
  }
  char who[64] = {};
  if (::pread(fd_, who, sizeof who - 1, 0) < 0) who[0] = 0;
  ::close(fd_);
  throw Error(ErrorKind::kExists, fmt::format("another run works in '{}' ({})", folder.string(),
                                              std::string(who).substr(0, std::strcspn(who, "\n"))));
}

FileLock::~FileLock() { ::close(fd_); }

WorkFolder::WorkFolder(fs::path path, const std::string& settings, std::vector<io::Shard> shards, bool resume,
                       bool force)
    : path_(std::move(path)) {
  std::error_code ec;
  fs::create_directories(path_ / kRecords, ec);
  if (ec)
    throw Error(ErrorKind::kFailure,
                fmt::format("cannot create the work folder '{}': {}; choose another with --work-dir", path_.string(),
                            ec.message()));
  lock_ = std::make_unique<FileLock>(path_ / "LOCK", path_);
  const fs::path job = path_ / "job.json";
  const json now = json::parse(settings);
  if (fs::exists(job) && resume) {
    const json before = json::parse(io::read_file(job, kMaxJson), nullptr, false);
    if (before != now)
      throw Error(ErrorKind::kUsage,
                  fmt::format("'{}' belongs to a run with other settings:{}\nresume with those, or start "
                              "anew with --force",
                              path_.string(), differing_keys(before, now)));
    fs::create_directories(path_ / kRecords);
    shards_ = std::make_unique<ShardFiles>(path_ / kShards, std::move(shards));
    return;
  }
  if (fs::exists(job) && !force && has_finished_block(path_ / kRecords))
    throw Error(
        ErrorKind::kExists,
        fmt::format("'{}' holds a stopped run: go on with --resume, or start anew with --force", path_.string()));
  fs::remove_all(path_ / kRecords);
  fs::remove_all(path_ / kShards);
  fs::create_directories(path_ / kRecords);
  shards_ = std::make_unique<ShardFiles>(path_ / kShards, std::move(shards));
  io::write_file(job, settings);
}

fs::path WorkFolder::record_path(int64_t layer) const { return path_ / kRecords / fmt::format("{:05d}.json", layer); }

std::optional<std::vector<LinearReport>> WorkFolder::finished(int64_t layer) const {
  const fs::path record = record_path(layer);
  if (!fs::exists(record)) return std::nullopt;
  try {
    const json j = json::parse(io::read_file(record, kMaxJson));
    if (j.at("hash") != shards_->hash(model::block_prefix(layer))) return std::nullopt;
    std::vector<LinearReport> reports;
    for (const json& r : j.at("linears")) reports.push_back(report_from(r));
    return reports;
  } catch (const json::exception&) {  // a record cut short: the block is done again
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void WorkFolder::store(int64_t layer, const BlockResult& block, const format::LayoutRow& layout) {
  const std::string prefix = model::block_prefix(layer);
  std::vector<std::future<void>> writes;  // a thread a linear: packing 58 million codes takes a tenth of a second
  for (const BlockLinear& linear : block.linears)
    writes.push_back(std::async(std::launch::async, [&] { store_linear(prefix + linear.name, linear, layout); }));
  for (const backend::FloatTensor& t : block.others) shards_->write(prefix + t.name, as_f16(t, prefix + t.name));
  for (std::future<void>& write : writes) write.get();
  shards_->sync();
  json record = {{"hash", shards_->hash(prefix)}, {"linears", json::array()}};
  for (const LinearReport& r : block.reports) record["linears"].push_back(to_json(r));
  io::write_file(record_path(layer), record.dump());
}

void WorkFolder::store_linear(const std::string& module, const BlockLinear& linear, const format::LayoutRow& layout) {
  for (const format::EncodedTensor& t : format::encode_module(layout, module, linear.packed))  // the bias among them
    shards_->write(module + "." + t.suffix, t.bytes);
  if (linear.salient.empty()) return;
  const auto specs = format::salient_specs(module, std::ssize(linear.salient.index), linear.packed.n);
  shards_->write(specs[0].name, std::as_bytes(std::span(linear.salient.index)));
  shards_->write(specs[1].name, std::as_bytes(std::span(linear.salient.delta)));
}

void WorkFolder::remove() {
  std::error_code ec;  // the output is already in place: a work folder that cannot be removed is not a failure
  fs::remove_all(path_, ec);
}

}  // namespace awq::quant
